//! Origins that serve files of a directory: python's http.server, which knows no ranges and no lifetimes, and nginx.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use std::{env, process};

use crate::server::eventually;

pub struct Files {
    pub directory: Directory,
    process: Child,
    address: String,
}

impl Files {
    pub fn by_python() -> Self {
        let directory = Directory::new();
        let mut process = Command::new("python3")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/reverse_proxy/files.py"
            ))
            .arg(&directory.0)
            .stdout(Stdio::piped())
            .spawn()
            .expect("`python3` is needed by this test");
        let mut address = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut address).unwrap();
        Self {
            directory,
            process,
            address: address.trim().to_owned(),
        }
    }

    /// POST of a file is answered with 200, and changes nothing.
    pub fn by_nginx() -> Self {
        let directory = Directory::new();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let root = directory.0.display();
        let configuration = format!(
            "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr crit; events {{}}\n\
             http {{ access_log off; client_body_temp_path {root}; types {{ text/html html; audio/wav wav; }}\n\
             server {{ listen {address}; root {root}; expires 60;\n\
             error_page 405 =200 @posted; location @posted {{ return 200; }} }} }}\n"
        );
        let file = directory.0.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(&directory.0)
            .arg("-c")
            .arg(&file)
            .spawn()
            .expect("`nginx` is needed by this test");
        assert!(eventually(|| TcpStream::connect(&address).is_ok()));
        Self {
            directory,
            process,
            address,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A directory of a test's own; it goes with this.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("larder-reverse-proxy-{}-{number}", process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file that has been as it is for a month: a tenth of that it may be taken to stay so.
    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        touch(&path, 30 * 86_400);
    }
}

fn touch(path: &Path, seconds_ago: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds_ago);
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(then).unwrap();
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A sound of eighty seconds, of thirty megabytes: in a format that is nothing but its samples, so that each place
/// in time is a place in the file, and too long for a browser to take it all in at once.
pub fn sound() -> Vec<u8> {
    // Two channels of two bytes each.
    const RATE: u32 = 96_000;
    let length = 80 * RATE * 4;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt ");
    // The length of what follows: samples as they are, and how many.
    file.extend(16_u32.to_le_bytes());
    file.extend([1, 0, 2, 0]);
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 4).to_le_bytes());
    file.extend([4, 0, 16, 0]);
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend((0..length).map(|place| (place / 251 + place % 7) as u8));
    file
}
