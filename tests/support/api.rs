//! Something at an API server's address that answers as a test wants it to: worse than any real one would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::Folder;

/// What comes back.
pub enum Answer {
    /// A whole answer: its code, its headers beside the usual ones, each with a line's end, and its body.
    Whole(u16, String, String),
    /// A head, and then the same piece again and again, with a pause before each.
    Endless(Duration, String),
    /// Nothing, and the connection stays.
    Silence,
}

impl Answer {
    pub fn json(value: &Value) -> Self {
        Self::Whole(200, "Content-Type: application/json\r\n".into(), value.to_string())
    }

    /// A list of these objects.
    pub fn list(items: &[Value]) -> Self {
        Self::json(
            &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}),
        )
    }
}

/// A port of this machine on which it listens until the test ends.
pub struct Api {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Api {
    /// `answer` gets the first line of each request, such as `GET /version`.
    pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (answer, requests) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), seen.clone());
                // Its end is the client's: whoever hangs up gets no more.
                std::thread::spawn(move || drop(serve(client, &*answer, &seen)));
            }
        });
        Self { port, requests }
    }

    /// The requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// A folder whose calls go there.
    pub fn folder(&self) -> Folder {
        let folder = Folder::new();
        let kubeconfig = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n",
            self.port
        );
        let path = folder.file("kubeconfig", &kubeconfig).display().to_string();
        folder.env("TESTBED_KUBECONFIG", path).env("TESTBED_ALLOW_NONE", "true")
    }
}

fn serve(
    client: TcpStream,
    answer: &dyn Fn(&str) -> Answer,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client;
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        if header.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let request = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    seen.lock().expect("no panic").push(request.clone());
    match answer(&request) {
        Answer::Whole(code, headers, body) => {
            let date = "Date: Sun, 29 Nov 2026 00:00:00 GMT\r\nConnection: close\r\n";
            write!(
                client,
                "HTTP/1.1 {code} Any\r\n{date}{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        Answer::Endless(pause, piece) => {
            client.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
            )?;
            loop {
                sleep(pause);
                client.write_all(piece.as_bytes())?;
            }
        }
        Answer::Silence => reader.read_to_end(&mut Vec::new()).map(drop),
    }
}
