//! What a server granted of one bucket, when, by its own clock: as `MONITOR` shows what the scripts wrote.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]

use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::server::{eventually, Server};

/// Everything that is written to the buckets whose names end so, from now on.
pub struct Ledger {
    writes: Arc<Mutex<Vec<Write>>>,
    marks: Arc<Mutex<u64>>,
    port: u16,
}

/// A bucket as it was written: what it lacked to be full, and when (microseconds).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Write {
    pub debt: f64,
    pub at: f64,
}

/// Tokens that left the bucket; given back, if less than none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// Seconds since the first one.
    pub at: f64,
    pub tokens: f64,
}

impl Ledger {
    pub fn of(server: &Server, name: &str) -> Self {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
        socket.write_all(b"MONITOR\r\n").unwrap();
        let mut read = BufReader::new(socket);
        let mut line = String::new();
        read.read_line(&mut line).unwrap();
        assert_eq!(line, "+OK\r\n");
        let ledger = Self {
            writes: Arc::default(),
            marks: Arc::default(),
            port: server.port,
        };
        let (writes, marks) = (Arc::clone(&ledger.writes), Arc::clone(&ledger.marks));
        let name = format!("{name}\"");
        thread::spawn(move || {
            for line in read.lines().map_while(Result::ok) {
                if line.contains("\"the ledger\"") {
                    *marks.lock().unwrap() += 1;
                } else if line.contains(" lua] \"PSETEX\"") && line.contains(&name) {
                    writes.lock().unwrap().push(Write::read(&line));
                }
            }
        });
        ledger
    }

    /// What was written until now.
    pub fn writes(&self) -> Vec<Write> {
        let read = || *self.marks.lock().unwrap();
        let before = read();
        super::server::cli(self.port, &["echo", "the ledger"]);
        assert!(eventually(|| read() > before), "the monitor reads on");
        self.writes.lock().unwrap().clone()
    }

    /// What was taken until now of a bucket of which a token takes so many microseconds: each write compared with
    /// what had become of the one before it.
    pub fn taken(&self, token: f64) -> Vec<Taken> {
        let writes = self.writes();
        let began = writes.first().map_or(0.0, |first| first.at);
        let mut before = Write {
            debt: 0.0,
            at: began,
        };
        let mut taken = Vec::with_capacity(writes.len());
        for write in writes {
            assert!(write.at >= before.at, "the server's clock went back");
            let drained = (before.debt - (write.at - before.at)).max(0.0);
            let tokens = (write.debt - drained) / token;
            let whole = (tokens - tokens.round()).abs() < 1e-6;
            // What is given back ends at full, which may be in the middle of a token.
            assert!(
                whole || tokens < 0.0,
                "{tokens} tokens, from {before:?} to {write:?}"
            );
            let at = (write.at - began) / 1e6;
            taken.push(Taken { at, tokens });
            before = write;
        }
        taken
    }
}

impl Write {
    /// `+1700000000.000000 [0 lua] "PSETEX" "test:b:{..}:api" "1200" "\x00\x00.."`
    fn read(line: &str) -> Self {
        let value = line.trim_end().strip_suffix('"').unwrap();
        let value = &value[value.rfind(" \"").unwrap() + 2..];
        let bytes = unquoted(value);
        let double = |at: usize| f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Self {
            debt: double(0),
            at: double(8),
        }
    }
}

/// The bytes that Redis shows so.
fn unquoted(shown: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    let mut shown = shown.bytes();
    while let Some(byte) = shown.next() {
        let plain = match byte {
            b'\\' => match shown.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 7,
                b'b' => 8,
                b'x' => {
                    let mut digit = || (shown.next().unwrap() as char).to_digit(16).unwrap() as u8;
                    digit() * 16 + digit()
                }
                other => other,
            },
            plain => plain,
        };
        bytes.push(plain);
    }
    bytes
}

/// The most tokens by which any window exceeds what a bucket may admit in it: so many at once, so many a second.
pub fn excess(taken: &[Taken], capacity: f64, rate: f64) -> f64 {
    let (mut all, mut lowest, mut worst) = (0.0, f64::MAX, f64::MIN);
    for one in taken {
        lowest = f64::min(lowest, all - rate * one.at);
        all += one.tokens;
        worst = f64::max(worst, all - rate * one.at - lowest);
    }
    worst - capacity
}
