//! Clients that ask at a steady pace, whatever the answers.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Connection};
use crate::titles::Titles;

/// Between two requests of one client.
pub(crate) const PACE: Duration = Duration::from_millis(4);
/// One request of so many is a rename, which takes the post and all lists.
const RENAMES: u64 = 200;
/// How many posts are asked for, and how many pages of lists.
const POSTS: u64 = 300;
const PAGES: u64 = 20;

/// One request.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) phase: usize,
    pub(crate) latency: Duration,
    pub(crate) failed: bool,
    /// Whether a read was answered by the cache.
    pub(crate) hit: Option<bool>,
    pub(crate) behind_here: Option<Duration>,
    pub(crate) behind_there: Option<Duration>,
}

/// One client, on one connection to one node.
pub(crate) struct Client<'a> {
    number: usize,
    node: usize,
    address: &'a str,
    titles: &'a Titles,
    random: u64,
    connection: Option<Connection>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(number: usize, node: usize, address: &'a str, titles: &'a Titles) -> Self {
        Self {
            number,
            node,
            address,
            titles,
            random: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1),
            connection: None,
        }
    }

    /// Asks until it is to stop. A late answer makes the next requests late, but none is left out, so
    /// that what they would have waited is not forgotten: their latency counts from when they were due.
    pub(crate) fn run(mut self, phase: &AtomicUsize, stop: &AtomicBool) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut due = Instant::now() + PACE * self.number as u32 / 8;
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut sample = Sample {
                phase: phase.load(Ordering::Relaxed),
                latency: Duration::ZERO,
                failed: false,
                hit: None,
                behind_here: None,
                behind_there: None,
            };
            if self.ask(&mut sample).is_err() {
                sample.failed = true;
                self.connection = None;
            }
            sample.latency = due.elapsed();
            samples.push(sample);
            due += PACE;
        }
        samples
    }

    fn ask(&mut self, sample: &mut Sample) -> io::Result<()> {
        let id = (self.next() % POSTS) as u32 + 1;
        match self.next() % RENAMES {
            0 => self.rename(id),
            1..60 => {
                let page = self.next() % PAGES * 10;
                let answer = self.send("GET", &format!("/posts?limit=10&offset={page}"), "")?;
                sample.hit = Some(answer.is_hit());
                Ok(())
            }
            _ => self.read(id, sample),
        }
    }

    /// Each post is renamed by one client alone, so that the order of its titles is known.
    fn rename(&mut self, id: u32) -> io::Result<()> {
        let Some((id, version)) = self.titles.next(self.number, id) else {
            return Ok(());
        };
        let content = format!(r#"{{"title":"Post {id} #{version}"}}"#);
        self.send("PUT", &format!("/posts/{id}"), &content)?;
        self.titles.acknowledged(id, version, self.node);
        Ok(())
    }

    fn read(&mut self, id: u32, sample: &mut Sample) -> io::Result<()> {
        let asked = Instant::now();
        let answer = self.send("GET", &format!("/posts/{id}"), "")?;
        sample.hit = Some(answer.is_hit());
        let json = answer.json();
        let title = json["title"].as_str().unwrap_or_default();
        let version = title.split_once('#').and_then(|(_, n)| n.parse().ok());
        let version = version.unwrap_or(0);
        if let Some((node, behind)) = self.titles.behind(id, version, asked) {
            match node == self.node {
                true => sample.behind_here = Some(behind),
                false => sample.behind_there = Some(behind),
            }
        }
        Ok(())
    }

    fn send(&mut self, method: &str, target: &str, content: &str) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address)?,
        };
        let fields = [("Content-Type", "application/json")];
        let answer = connection.exchange(method, target, &fields, content)?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("status {}", answer.status)));
        }
        self.connection = Some(connection);
        Ok(answer)
    }

    /// xorshift: the same requests in every run.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}
