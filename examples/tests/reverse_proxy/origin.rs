//! An origin that answers with the bytes a test tells it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Request line and fields, with their line ends; bytes as the characters of the same number.
    pub head: String,
    pub body: Vec<u8>,
    /// Which of the origin's connections it came on.
    pub connection: usize,
}

impl Asked {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let named = fields.filter(move |(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields(name).next().is_some()
    }
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
}

pub struct Origin {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Origin {
    /// `answer` is called with each request, once its content is read, and writes to the connection.
    pub fn start<F>(answer: F) -> Self
    where
        F: Fn(&Asked, &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
    {
        Self::reading(
            move |asked, stream| {
                asked.body = read_content(asked, stream)?;
                Ok(())
            },
            answer,
        )
    }

    /// As [`start`](Self::start); `read` reads the content, in a way of its own.
    pub fn reading<R, F>(read: R, answer: F) -> Self
    where
        R: Fn(&mut Asked, &mut BufReader<TcpStream>) -> io::Result<()> + Send + Sync + 'static,
        F: Fn(&Asked, &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, list) = (Arc::new((read, answer)), Arc::clone(&asked));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (script, list) = (Arc::clone(&script), Arc::clone(&list));
                thread::spawn(move || -> io::Result<()> {
                    stream.set_nodelay(true)?;
                    let mut stream = BufReader::new(stream);
                    while let Some(head) = read_head(&mut stream)? {
                        let mut request = Asked {
                            head,
                            body: Vec::new(),
                            connection,
                        };
                        (script.0)(&mut request, &mut stream)?;
                        list.lock().unwrap().push(request.clone());
                        if (script.1)(&request, stream.get_mut())? == Then::Close {
                            return Ok(());
                        }
                    }
                    Ok(())
                });
            }
        });
        Self { address, asked }
    }

    /// Says the same to every request, and keeps its connections.
    pub fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| stream.write_all(&answer).map(|()| Then::Keep))
    }

    /// Says the same, and closes the connection.
    pub fn parting(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| stream.write_all(&answer).map(|()| Then::Close))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn last(&self) -> Asked {
        self.asked().pop().expect("the origin was asked")
    }

    /// Forgets what it was asked so far.
    pub fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// A head, or nothing where the connection ends before one.
fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    loop {
        let line = head.len();
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
        if &head[line..] == b"\r\n" {
            return Ok(Some(head.iter().map(|byte| char::from(*byte)).collect()));
        }
    }
}

/// Content as RFC 9112 §6 delimits it, and no other way.
fn read_content(asked: &Asked, stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let lengths: Vec<&str> = asked.fields("content-length").collect();
    if asked.has("transfer-encoding") {
        assert!(lengths.is_empty(), "two ways to end: {}", asked.head);
        loop {
            let chunk = read_chunk(stream)?;
            if chunk.is_empty() {
                return Ok(content);
            }
            content.extend(chunk);
        }
    }
    assert!(lengths.len() < 2, "two lengths: {}", asked.head);
    if let [length] = lengths[..] {
        content.resize(length.parse().map_err(io::Error::other)?, 0);
        stream.read_exact(&mut content)?;
    }
    Ok(content)
}

pub fn read_chunk(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut size = String::new();
    stream.read_line(&mut size)?;
    let size = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok(chunk)
}
