//! The quickstart as the clients of this world see it: curl, Python's urllib, and Chromium.
//!
//! The browser is large, so that its test runs only when asked to, with `chromium` installed:
//!
//! ```sh
//! cargo test -p larder-examples --test clients -- --ignored
//! ```

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod curl;
mod python;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

/// What the tests ask for: eight kilobytes, which are worth a coding.
const LIST: &str = "/posts?limit=100";

/// A directory of a test's own; it goes with this.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("larder-clients-{}-{number}", process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text_in(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
