//! How each of the proxies is started: on one core, in memory, with nothing to do but answer.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use larder_peers::served::{pinned, Server};

use crate::{ACCEPTS, TARGET};

/// A directory for what they write: in memory, where there is one. It goes with this.
pub(crate) struct Programs {
    directory: PathBuf,
}

impl Programs {
    pub(crate) fn new() -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let under = match memory.is_dir() {
            true => memory.to_owned(),
            false => env::temp_dir(),
        };
        let directory = under.join(format!("larder-proxies-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// `log`: what follows `access_log`; files are named from the directory.
    pub(crate) fn nginx(&self, name: &str, origin: &str, log: &str) -> io::Result<Server> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory)?;
        let address = free_address()?;
        let configuration = format!(
            r#"daemon off;
worker_processes 1;
pid nginx.pid;
user root;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    access_log {log};
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=16 inactive=1h;
    proxy_cache_path cache keys_zone=memory:1m;
    proxy_temp_path temporary;
    client_body_temp_path temporary;
    server {{
        listen {address};
        location / {{
            proxy_pass http://{origin};
            proxy_cache memory;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
"#
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = pinned("nginx");
        command.arg("-p").arg(&directory).arg("-c").arg(&file);
        command.args(["-e", "stderr"]);
        Server::run(name, &mut command, &address, TARGET, ACCEPTS)
    }

    pub(crate) fn varnish(&self, name: &str, origin: &str) -> io::Result<Server> {
        let address = free_address()?;
        let mut command = pinned("varnishd");
        command
            .args(["-F", "-a", &address, "-b", origin, "-s", "malloc,64m", "-n"])
            .arg(self.directory.join(name));
        // A thread for each connection that is being answered, and some more.
        for parameter in [
            "thread_pools=1",
            "thread_pool_min=80",
            "thread_pool_max=200",
        ] {
            command.args(["-p", parameter]);
        }
        let log = File::create(self.directory.join("varnish.log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        Server::run(name, &mut command, &address, TARGET, ACCEPTS)
    }

    pub(crate) fn reverse_proxy(
        &self,
        name: &str,
        origin: &str,
        profile: &str,
    ) -> io::Result<Server> {
        let address = free_address()?;
        let this = env::current_exe()?;
        let program = this.with_file_name("examples").join("reverse_proxy");
        if !program.exists() {
            let first = "cargo build --release -p larder-examples --example reverse_proxy";
            return Err(io::Error::other(format!("build it first: {first}")));
        }
        let mut command = pinned(program);
        command
            .args(["--listen", &address, "--profile", profile, "--origin"])
            .arg(format!("http://{origin}"))
            .stdout(File::create(self.directory.join(name))?);
        Server::run(name, &mut command, &address, TARGET, ACCEPTS)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// An address where nobody listens: those who are told where to may not choose.
fn free_address() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}
