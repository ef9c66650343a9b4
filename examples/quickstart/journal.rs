//! What makes one database of the pretend databases of several nodes: a file to which each of them
//! appends what it changes, and which all of them read. It lies in the temporary directory, under a
//! name made of the `REDIS_URL`, for nodes that share a Redis and a machine.
//!
//! It has nothing to do with caching, and is not in Redis: what is true must not depend on the cache.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file, as one node sees it.
pub(crate) struct Journal {
    directory: PathBuf,
    me: PathBuf,
    file: File,
    /// Where the first line begins that this node has not read.
    unread: u64,
}

impl Journal {
    /// Joins the other nodes. Where there is none left the database begins anew, as it does in memory.
    pub(crate) fn join(redis_url: &str, address: SocketAddr) -> io::Result<Self> {
        let mut hash = DefaultHasher::new();
        redis_url.hash(&mut hash);
        let name = format!("larder-quickstart-{:016x}", hash.finish());
        let directory = std::env::temp_dir().join(name);
        let nodes = directory.join("nodes");
        fs::create_dir_all(&nodes)?;

        let me = nodes.join(address.to_string().replace(':', "-"));
        let alone = !fs::read_dir(&nodes)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .any(|node| node != me && is_alive(&node));
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(directory.join("journal"))?;
        if alone {
            file.set_len(0)?;
        }
        fs::write(&me, address.to_string())?;
        Ok(Self {
            directory,
            me,
            file,
            unread: 0,
        })
    }

    /// Appends a line, in one piece, so that the lines of two nodes never mix.
    pub(crate) fn append(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }

    /// The lines that were appended since the last call, by any node.
    pub(crate) fn read(&mut self) -> io::Result<Vec<String>> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(self.unread))?;
        self.file.read_to_string(&mut text)?;
        // The end may be a line that is being written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.unread += whole as u64;
        Ok(text[..whole].lines().map(str::to_owned).collect())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Whoever leaves last takes the files along. What stays is found dead by the next one.
        let _ = fs::remove_file(&self.me);
        if fs::remove_dir(self.directory.join("nodes")).is_ok() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// A node is alive if somebody listens where it said it would. One that is not is struck off.
fn is_alive(node: &Path) -> bool {
    let address = fs::read_to_string(node).ok();
    let address = address.and_then(|address| address.parse().ok());
    let alive = address.is_some_and(|address| {
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    });
    if !alive {
        let _ = fs::remove_file(node);
    }
    alive
}
