//! Waits on 127.0.0.1 for the browser to come back with an answer. Reads one request line at a time and nothing else
//! of what is sent.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::connect::{NoCode, Question};

const PATH: &str = "/callback";
const MAX_REQUEST_BYTES: u64 = 16 * 1024;
/// A browser sends its request at once.
const READ: Duration = Duration::from_secs(5);

/// A place for the answer.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    url: Url,
}

impl Loopback {
    /// Port 0 takes a free one.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let url = format!("http://{}{PATH}", listener.local_addr()?);
        Ok(Self { listener, url: Url::parse(&url).expect("an address and a path") })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The code, or the platform's word for why there is none. Answers to other questions are turned away, and it goes
    /// on waiting: anybody on this machine can send one.
    ///
    /// # Errors
    /// The port cannot be listened on any more.
    pub async fn answer(&self, question: &Question) -> io::Result<Result<String, String>> {
        loop {
            let (mut stream, _) = self.listener.accept().await?;
            let Ok(Some(asked)) = tokio::time::timeout(READ, request_target(&mut stream)).await else { continue };
            let Some(url) = self.url.join(&asked).ok().filter(|url| url.path() == PATH) else {
                reply(&mut stream, "404 Not Found", "There is nothing here.").await;
                continue;
            };
            match question.read_answer(&url) {
                Ok(answer) => {
                    let text = match &answer {
                        Ok(_) => "Réveil has its answer. You can close this page and go back to the terminal.",
                        Err(_) => "Access was not granted. The terminal says more.",
                    };
                    reply(&mut stream, "200 OK", text).await;
                    return Ok(answer);
                }
                Err(NoCode::OtherState | NoCode::Unreadable) => {
                    reply(&mut stream, "400 Bad Request", "This is not the answer Réveil waits for.").await;
                }
            }
        }
    }
}

/// The target of the request line; `None` for anything but a GET.
async fn request_target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut limited = stream.take(MAX_REQUEST_BYTES);
    let mut chunk = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match limited.read(&mut chunk).await {
            Ok(read) if read > 0 => head.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    (method == "GET" && target.starts_with('/')).then(|| target.to_owned())
}

async fn reply(stream: &mut TcpStream, status: &str, text: &str) {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Réveil</title></head><body><p>{text}</p></body></html>\n"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        page.len()
    );
    // The browser may have gone; the answer is known all the same.
    let _ = stream.write_all(&[head.as_bytes(), page.as_bytes()].concat()).await;
    let _ = stream.shutdown().await;
}
