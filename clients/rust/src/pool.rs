//! The requests that the pool answers, one connection each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::{server, Error};

pub fn ask(method: &str, path: &str, body: Option<&Value>) -> Result<Value, Error> {
    let url = server::url()?;
    let parts = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
    let (address, base) =
        parts.ok_or_else(|| Error::new(format!("{} is no http:// address", server::VARIABLE)))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!("{method} /{base}/v1{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut answer = Vec::new();
    let exchange = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        // The pool itself answers within a minute.
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        stream.write_all((head + &body).as_bytes())?;
        stream.read_to_end(&mut answer).map(drop)
    };
    exchange().map_err(|error| {
        Error::new(format!("testbed's pool does not answer ({error}); has `testbed run` ended?"))
    })?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let value = serde_json::from_str(body).unwrap_or(Value::Null);
    if (200..300).contains(&status) {
        return Ok(value);
    }
    let message = value["message"].as_str().unwrap_or(body);
    Err(Error { status, message: format!("testbed's pool answers {status}: {message}") })
}
