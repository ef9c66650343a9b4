//! Everything that is bounded, with its bound.

use crate::error::ConfigError;

/// Everything that is bounded, with its bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: u64,
    pub(crate) body: u64,
    pub(crate) tags: usize,
    pub(crate) tag_length: usize,
    pub(crate) variants: usize,
    pub(crate) vary_fields: usize,
    pub(crate) key: usize,
    pub(crate) head: usize,
    pub(crate) waiters: usize,
}

impl Limits {
    /// Looks for bounds that are zero or do not fit each other.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let bounds = [
            (self.capacity, "capacity", "`.capacity(64 << 20)`"),
            (self.body, "body limit", "`.body_limit(1 << 20)`"),
            (self.tags as u64, "limit of tags", "`.max_tags(64)`"),
            (
                self.tag_length as u64,
                "length of a tag",
                "`.max_tag_length(256)`",
            ),
            (
                self.head as u64,
                "limit of the head",
                "`.max_head(16 << 10)`",
            ),
            (
                self.variants as u64,
                "limit of variants",
                "`.max_variants(16)`",
            ),
            (self.key as u64, "limit of the key", "`.max_key(4096)`"),
            (
                self.waiters as u64,
                "limit of waiters",
                "`.max_waiters(1024)`, and `.no_collapsing()` on a route where nobody should wait",
            ),
        ];
        if let Some((_, what, instead)) = bounds.iter().find(|(bound, ..)| *bound == 0) {
            let problem = format!("a {what} of zero stores nothing");
            return Err(ConfigError::new(problem, *instead));
        }
        let least = self.body.saturating_mul(2);
        if least > self.capacity {
            return Err(ConfigError::new(
                format!(
                    "a body limit of {} bytes does not fit into a capacity of {} bytes",
                    self.body, self.capacity
                ),
                format!("`.capacity({least})` or more, or a smaller `.body_limit(..)`"),
            ));
        }
        Ok(())
    }
}
