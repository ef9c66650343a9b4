//! Servers in processes of their own, on one core, asked by `wrk` from the other.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// A child process that serves one subject, ended when dropped.
pub struct Server {
    /// What it is called in tables.
    pub name: String,
    process: Child,
    address: String,
    target: &'static str,
    /// `Accept-Encoding`.
    accepts: &'static str,
    /// What each round measured: requests per second.
    pub rates: Vec<f64>,
    /// What each round measured: milliseconds that 99 of 100 answers took at most.
    pub p99s: Vec<f64>,
}

impl Server {
    /// Starts this program again with other arguments, to serve what they say. It prints its address first.
    pub fn start(
        name: impl Into<String>,
        arguments: &[&str],
        target: &'static str,
        accepts: &'static str,
    ) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Self::start_other(name, &program, arguments, target, accepts)
    }

    /// Starts another program that prints its address first.
    pub fn start_other(
        name: impl Into<String>,
        program: &Path,
        arguments: &[&str],
        target: &'static str,
        accepts: &'static str,
    ) -> io::Result<Self> {
        let mut command = pinned(program);
        let mut process = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self::new(name, process, address.trim(), target, accepts))
    }

    /// Starts another program, [`pinned`], that was told to listen on `address`.
    pub fn run(
        name: impl Into<String>,
        command: &mut Command,
        address: &str,
        target: &'static str,
        accepts: &'static str,
    ) -> io::Result<Self> {
        let server = Self::new(name, command.spawn()?, address, target, accepts);
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("{} does not listen", server.name)))
    }

    fn new(
        name: impl Into<String>,
        process: Child,
        address: &str,
        target: &'static str,
        accepts: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            process,
            address: address.to_owned(),
            target,
            accepts,
            rates: Vec::new(),
            p99s: Vec::new(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// One answer, as it comes over the wire.
    pub fn get(&self) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address)?;
        let (target, accepts) = (self.target, self.accepts);
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accepts}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// Asks for two seconds over 64 connections, and notes the rate and the 99th percentile of the times.
    pub fn measure(&mut self) -> io::Result<()> {
        let output = Command::new("taskset")
            .args(["-c", LOAD_CORE, "wrk", "--latency"])
            .args(["-t1", "-c64", "-d2s"])
            .args(["-H", "Accept: application/json", "-H"])
            .arg(format!("Accept-Encoding: {}", self.accepts))
            .arg(format!("http://{}{}", self.address, self.target))
            .output()?;
        let report = String::from_utf8_lossy(&output.stdout);
        // A slow server may not answer all that were asked within the two seconds; that is no failure.
        let failed = report.contains("Non-2xx") || report.contains("connect 6");
        let said = |label| report.lines().find_map(|l| l.trim().strip_prefix(label));
        let rate = said("Requests/sec:").and_then(|rate| rate.trim().parse().ok());
        match (rate, said("99%").and_then(milliseconds)) {
            (Some(rate), Some(p99)) if !failed => {
                self.rates.push(rate);
                self.p99s.push(p99);
                Ok(())
            }
            _ => Err(io::Error::other(format!("wrk on {}: {report}", self.name))),
        }
    }
}

/// A time as `wrk` writes it.
fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    Some(number.parse::<f64>().ok()? * unit)
}

/// A program on the core of the servers.
pub fn pinned(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gently first: some have children of their own. It may have ended already; then there is nothing to
        // end and nothing to wait for.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        for _ in 0..250 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the tools of every measurement are there.
///
/// # Errors
///
/// As those of [`need`].
pub fn need_tools() -> io::Result<()> {
    need(&[("wrk", "wrk"), ("taskset", "util-linux")])
}

/// Whether commands are there, each beside the package that has it.
///
/// # Errors
///
/// The name of one that is missing, and of its package.
pub fn need(tools: &[(&str, &str)]) -> io::Result<()> {
    for (tool, package) in tools {
        // Asked of the shell: not all of them end when they are started without arguments.
        let mut asking = Command::new("sh");
        asking.args(["-c", "command -v \"$0\"", tool]);
        if !asking.stdout(Stdio::null()).status()?.success() {
            let missing = format!("{tool} is missing: apt-get install {package}");
            return Err(io::Error::other(missing));
        }
    }
    Ok(())
}
