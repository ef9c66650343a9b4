//! What a layer and its services share: the limits, looked through for contradictions.

use std::sync::Arc;

use super::key::Part;
use super::limiter::Limiter;
use super::rule::Rule;
use super::template::{Answers, Template};
use crate::error::ConfigError;
use crate::header::rate_limit::{Fields, Profile};

/// Limits of one layer; more are a mistake.
const MOST: usize = 16;

/// The configuration of one service.
pub(super) struct Route {
    pub(super) limits: Box<[Limited]>,
    pub(super) answers: Answers,
    /// Whether a decision takes more than this process knows.
    pub(super) asks: bool,
    /// Whether an answer changes what its request costs.
    pub(super) settles: bool,
    /// Whether somebody's function is given the whole head of a request.
    pub(super) needs_parts: bool,
    /// Whether there is one limit, which decides here and for good: nothing about its charges is kept.
    pub(super) is_plain: bool,
    /// Whether answers of requests that passed are told nothing.
    pub(super) is_silent: bool,
}

/// One limit, ready for use.
pub(super) struct Limited {
    pub(super) name: Arc<str>,
    pub(super) limiter: Limiter,
    pub(super) rule: Rule,
    pub(super) fields: Fields,
    /// What is answered when it alone refuses.
    pub(super) template: Option<Template>,
}

impl Route {
    pub(super) fn new(rules: Vec<Rule>, answers: Answers) -> Result<Self, ConfigError> {
        let mut limits = Vec::with_capacity(rules.len());
        for (n, rule) in rules.into_iter().enumerate() {
            let limiter = rule.limiter()?;
            let quota = limiter.core.quota;
            let name = name(n, &rule);
            let (capacity, window) = (quota.tokens(), quota.refill_time());
            let fields = Fields::new(answers.profile, &name, capacity, window);
            limits.push(Limited {
                template: Template::new(&answers, &name, &fields),
                fields,
                name,
                limiter,
                rule,
            });
        }
        let asks = |limit: &Limited| limit.rule.asks() || limit.limiter.core.shared.is_some();
        let asks = limits.iter().any(asks);
        let settles = limits.iter().any(|limit| limit.rule.settle.is_some());
        let functions = limits.iter().any(|limit| limit.rule.needs_parts());
        Ok(Self {
            asks,
            settles,
            needs_parts: functions || !answers.skip.is_empty(),
            is_plain: matches!(&limits[..], [one] if !one.rule.shadow)
                && !(asks || settles || answers.verdicts),
            is_silent: answers.profile == Profile::None && !answers.expose,
            limits: limits.into(),
            answers,
        })
    }
}

fn name(place: usize, rule: &Rule) -> Arc<str> {
    match (rule.name(), place) {
        (Some(name), _) => name.into(),
        (None, 0) => "default".into(),
        (None, place) => format!("default-{}", place + 1).into(),
    }
}

/// All rules of a layer, each with its key, looked through for contradictions.
pub(super) fn rules(done: &[Rule], last: &Rule) -> Result<Vec<Rule>, ConfigError> {
    let mut rules: Vec<Rule> = Vec::with_capacity(done.len() + 1);
    for rule in done.iter().chain([last]) {
        let mut rule = rule.clone();
        if rule.inherits && rule.parts.is_empty() && !rule.everyone {
            if let Some(before) = rules.last() {
                rule.parts = before.parts.clone();
                rule.everyone = before.everyone;
                rule.missing = rule.missing.or(before.missing);
            }
        }
        rule.validate()?;
        rules.push(rule);
    }
    if rules.len() > MOST {
        return Err(ConfigError::new(
            format!("one request is held to {} limits", rules.len()),
            "a layer of at most 16 quotas",
        ));
    }
    let names: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(n, rule)| name(n, rule))
        .collect();
    if let Some(n) = (1..names.len()).find(|n| names[..*n].contains(&names[*n])) {
        return Err(ConfigError::new(
            format!("two policies are called `{}`", names[n]),
            "`.name(\"per-hour\")` for one of them",
        ));
    }
    check_routes(&rules)?;
    Ok(rules)
}

/// Without axum there are no matched routes.
fn check_routes(rules: &[Rule]) -> Result<(), ConfigError> {
    let is_route = |part: &Part| matches!(part, Part::Route);
    let by_route = rules.iter().flat_map(|rule| &rule.parts).any(is_route);
    if by_route && !cfg!(feature = "axum") {
        return Err(ConfigError::new(
            "only axum tells which route has matched",
            "the feature `axum`, or `.by(|parts| ..)` with what your router knows",
        ));
    }
    Ok(())
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.limits.iter().map(|limit| &limit.name);
        f.debug_list().entries(names).finish()
    }
}
