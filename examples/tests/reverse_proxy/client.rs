//! A client that writes what it is told, and reads answers in HTTP/1.1.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Client {
    pub stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the content ended as it was said to.
    pub complete: bool,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.fields.iter().filter(|(field, _)| field == name);
        lines.next().map(|(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn cache_status(&self) -> &str {
        self.field("cache-status").unwrap_or_default()
    }

    pub fn is_hit(&self) -> bool {
        self.cache_status().starts_with("larder; hit; ttl=")
    }

    /// Whether it is one of the proxy's own, in problem details that say the same status.
    pub fn is_problem(&self, status: u16) -> bool {
        let content: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        self.status == status
            && self.field("content-type") == Some("application/problem+json")
            && content["status"] == status
            && content["detail"].is_string()
    }
}

impl Client {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
    }

    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let is_head = request.as_ref().starts_with(b"HEAD ");
        self.send(request);
        match is_head {
            true => self.head(),
            false => self.answer(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next answer, interim ones too.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.status < 200 || matches!(answer.status, 204 | 304) {
            return answer;
        }
        let length = answer.field("content-length").map(|text| text.parse());
        let read = match length {
            _ if answer.field("transfer-encoding") == Some("chunked") => {
                self.chunks(&mut answer.body)
            }
            Some(length) => {
                let length: u64 = length.unwrap();
                let taken = (&mut self.stream)
                    .take(length)
                    .read_to_end(&mut answer.body);
                taken.map(|taken| taken as u64 == length)
            }
            None => self.stream.read_to_end(&mut answer.body).map(|_| true),
        };
        answer.complete = read.unwrap_or(false);
        answer
    }

    /// A head, and nothing of its content.
    pub fn head(&mut self) -> Answer {
        let line = self.line().expect("an answer");
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .or(line.strip_prefix("HTTP/1.0 "));
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut answer = Answer {
            status: status[..3].parse().unwrap(),
            fields: Vec::new(),
            body: Vec::new(),
            complete: true,
            line,
        };
        loop {
            let line = self.line().expect("a whole head");
            if line.is_empty() {
                return answer;
            }
            let (name, value) = line.split_once(':').expect("a field");
            answer
                .fields
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// One chunk, as it comes; empty at the end.
    pub fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok(chunk)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            match self.chunk() {
                Ok(chunk) if chunk.is_empty() => return Ok(true),
                Ok(chunk) => body.extend(chunk),
                Err(_) => return Ok(false),
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.iter().map(|byte| char::from(*byte)).collect()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Whether nothing more comes on this connection.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
