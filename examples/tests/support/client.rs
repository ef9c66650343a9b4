//! As much of an HTTP/1.1 client as these tests need.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A connection that is kept for one request after another.
pub struct Connection {
    pub stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: address.to_owned(),
        })
    }

    pub fn exchange(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        content: &str,
    ) -> io::Result<Answer> {
        self.ask(method, target, fields, content)?;
        let mut answer = self.head()?;
        if method != "HEAD" {
            let length = answer.header("content-length").map(str::parse);
            let Some(Ok(length)) = length else {
                return Err(io::Error::other("an answer of unknown length"));
            };
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            answer.body = String::from_utf8(body).map_err(io::Error::other)?;
        }
        Ok(answer)
    }

    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        content: &str,
    ) -> io::Result<()> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in fields {
            request += &format!("{name}: {value}\r\n");
        }
        if method == "POST" || method == "PUT" {
            request += &format!("Content-Length: {}\r\n", content.len());
        }
        request += "\r\n";
        request += content;
        self.stream.get_mut().write_all(request.as_bytes())
    }

    pub fn head(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status line"))?;
        let mut fields = Vec::new();
        while let Some((name, value)) = self.line()?.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer {
            status,
            fields,
            body: String::new(),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.fields.iter().filter(|(field, _)| field == name);
        lines.next().map(|(_, value)| value.as_str())
    }

    pub fn cache_status(&self) -> &str {
        self.header("cache-status")
            .expect("every cached route sends Cache-Status")
    }

    pub fn is_hit(&self) -> bool {
        self.cache_status().starts_with("larder; hit; ttl=")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("an answer in JSON")
    }
}
