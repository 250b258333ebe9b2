//! The role `recorder`: an endpoint that writes down what it executes.
//!
//! - `POST /orders` with `X-Order: ID` appends the id to the file `orders`, works for a while and
//!   answers 200. A line in the file is an order that was executed, whatever the client was told.
//! - `PUT /upload` writes the body to the file `upload`.
//! - `GET /slow` appends to the file `slow`, takes a second and answers.
//! - A request to upgrade is granted, and every byte that follows is sent back.
//!
//! One thread for each connection and blocking calls: it must be plain, not fast.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// `recorder ADDRESS FOLDER`
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [address, folder] = arguments else {
        bail!("recorder ADDRESS FOLDER");
    };
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    for stream in listener.incoming() {
        let (stream, folder) = (stream?, PathBuf::from(folder));
        // A connection that breaks is the business of whoever broke it.
        thread::spawn(move || serve(&stream, &folder));
    }
    Ok(())
}

/// Answers requests until the connection ends.
fn serve(stream: &TcpStream, folder: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        if request.upgrades {
            write(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            )?;
            let mut bytes = [0; 4096];
            loop {
                match reader.read(&mut bytes)? {
                    0 => return Ok(()),
                    count => (&*stream).write_all(&bytes[..count])?,
                }
            }
        }
        if request.expects_continue {
            write(stream, "HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; request.body_bytes];
        reader.read_exact(&mut body)?;
        request.execute(&body, folder)?;
        write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n")?;
    }
    Ok(())
}

#[derive(Default)]
struct Request {
    path: String,
    order: String,
    body_bytes: usize,
    expects_continue: bool,
    upgrades: bool,
}

impl Request {
    /// Reads a head. `None` if the connection ended instead.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut request = Self {
            path: line.split(' ').nth(1).unwrap_or_default().to_owned(),
            ..Self::default()
        };
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                return Ok(Some(request));
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    request.body_bytes = value.parse().map_err(io::Error::other)?;
                }
                "expect" => request.expects_continue = true,
                "upgrade" => request.upgrades = true,
                "x-order" => value.clone_into(&mut request.order),
                _ => {}
            }
        }
    }

    fn execute(&self, body: &[u8], folder: &Path) -> io::Result<()> {
        match self.path.as_str() {
            "/orders" => {
                append(&folder.join("orders"), &self.order)?;
                thread::sleep(ORDER_TAKES);
            }
            "/upload" => fs::write(folder.join("upload"), body)?,
            "/slow" => {
                append(&folder.join("slow"), "begun")?;
                thread::sleep(SLOW_TAKES);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Adds a line in one write, so that lines of several threads never mix.
fn append(file: &Path, line: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn write(mut stream: &TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())
}

/// Long enough that a kill finds orders in hand.
const ORDER_TAKES: Duration = Duration::from_millis(20);
const SLOW_TAKES: Duration = Duration::from_secs(1);
