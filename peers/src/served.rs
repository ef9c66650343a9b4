//! Servers in processes of their own, on one core, asked by `wrk` from the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

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
    /// What each round measured.
    pub rates: Vec<f64>,
}

impl Server {
    /// Starts this program again with other arguments, to serve what they say. It prints its address first.
    pub fn start(
        name: impl Into<String>,
        arguments: &[&str],
        target: &'static str,
        accepts: &'static str,
    ) -> io::Result<Self> {
        let mut process = Command::new("taskset")
            .args(["-c", SERVER_CORE])
            .arg(std::env::current_exe()?)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self {
            name: name.into(),
            process,
            address: address.trim().to_owned(),
            target,
            accepts,
            rates: Vec::new(),
        })
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

    /// Asks for two seconds over 64 connections, and notes the rate.
    pub fn measure(&mut self) -> io::Result<()> {
        let output = Command::new("taskset")
            .args(["-c", LOAD_CORE, "wrk", "-t1", "-c64", "-d2s"])
            .args(["-H", "Accept: application/json", "-H"])
            .arg(format!("Accept-Encoding: {}", self.accepts))
            .arg(format!("http://{}{}", self.address, self.target))
            .output()?;
        let report = String::from_utf8_lossy(&output.stdout);
        // A slow server may not answer all that were asked within the two seconds; that is no failure.
        let failed = report.contains("Non-2xx") || report.contains("connect 6");
        let rate = report
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"));
        match rate.and_then(|rate| rate.trim().parse().ok()) {
            Some(rate) if !failed => {
                self.rates.push(rate);
                Ok(())
            }
            _ => Err(io::Error::other(format!("wrk on {}: {report}", self.name))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end and nothing to wait for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the tools are there.
///
/// # Errors
///
/// The name of one that is missing, and of the package that has it.
pub fn need_tools() -> io::Result<()> {
    for (tool, package) in [("wrk", "wrk"), ("taskset", "util-linux")] {
        let found = Command::new(tool)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.map_err(|_| {
            io::Error::other(format!("{tool} is missing: apt-get install {package}"))
        })?;
    }
    Ok(())
}
