//! Ways to the API server that are worse than the straight one: one that can be cut, as a network does to
//! connections that are held for long, and one that alters what is said.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use crate::harness::{kubeconfig, kubectl};
use crate::support::Folder;

/// A port of this machine that leads to the API server.
pub struct Proxy {
    config: Value,
    open: Arc<Mutex<Vec<TcpStream>>>,
    way: Arc<(Mutex<Way>, Condvar)>,
}

/// What becomes of what is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It arrives.
    Open,
    /// Connections stay as they are, or come about, and nothing arrives: a network that loses all packets.
    Lost,
    /// Connections end as soon as they are made: a server that is down.
    Refused,
}

impl Proxy {
    pub fn start() -> Self {
        let mut config: Value = serde_json::from_str(&kubectl(&[
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "-o",
            "json",
        ]))
        .expect("JSON");
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"]
            .as_str()
            .and_then(|server| server.strip_prefix("https://"))
            .expect("an https address")
            .to_owned();
        let server = if server.contains(':') { server } else { format!("{server}:443") };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        cluster["server"] = format!("https://{}", listener.local_addr().expect("an address")).into();
        cluster["tls-server-name"] = server.rsplit_once(':').expect("a port").0.into();
        let open = Arc::new(Mutex::new(Vec::new()));
        let streams = open.clone();
        let way = Arc::new((Mutex::new(Way::Open), Condvar::new()));
        let current = way.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if *current.0.lock().expect("no panic") == Way::Refused {
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(&server) else { continue };
                let copy = |stream: &TcpStream| stream.try_clone().expect("another handle");
                streams.lock().expect("no panic").extend([copy(&client), copy(&upstream)]);
                for (from, to) in [(copy(&client), copy(&upstream)), (upstream, client)] {
                    let way = current.clone();
                    std::thread::spawn(move || pass_while_open(from, to, &way));
                }
            }
        });
        Self { config, open, way }
    }

    /// From now on.
    pub fn set(&self, way: Way) {
        *self.way.0.lock().expect("no panic") = way;
        self.way.1.notify_all();
        if way == Way::Refused {
            self.cut();
        }
    }

    /// A kubeconfig that goes this way.
    pub fn kubeconfig(&self, folder: &Folder) -> PathBuf {
        folder.file("proxied", &self.config.to_string())
    }

    /// Cuts all connections that are open, and tells how many there were.
    pub fn cut(&self) -> usize {
        let streams = std::mem::take(&mut *self.open.lock().expect("no panic"));
        streams.iter().filter(|stream| stream.shutdown(Shutdown::Both).is_ok()).count()
    }
}

/// Passes bytes on until one side hangs up. What comes while the way is lost arrives once it is open again.
fn pass_while_open(mut from: TcpStream, mut to: TcpStream, way: &(Mutex<Way>, Condvar)) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let open = way.1.wait_while(way.0.lock().expect("no panic"), |way| *way == Way::Lost);
        drop(open.expect("no panic"));
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// A port of this machine that leads to the API server, in plain HTTP, and alters the heads of requests and
/// answers.
pub struct Altering {
    port: u16,
    upstream: Child,
}

impl Altering {
    /// `sent` gets the head of each request and tells what goes on; `received` likewise those of the answers.
    pub fn start<S, R>(sent: S, received: R) -> Self
    where
        S: Fn(&str) -> String + Send + Sync + 'static,
        R: Fn(&str) -> String + Send + Sync + 'static,
    {
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(kubeconfig()).args(["proxy", "--port=0"]).stdout(Stdio::piped());
        let mut upstream = kubectl.spawn().expect("kubectl");
        let mut line = String::new();
        BufReader::new(upstream.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line of kubectl");
        let to = line.trim().rsplit(' ').next().expect("an address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (sent, received) = (Arc::new(sent), Arc::new(received));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let copy = |stream: &TcpStream| stream.try_clone().expect("another handle");
                let (there, back) = ((copy(&client), copy(&server)), (server, client));
                let (sent, received) = (sent.clone(), received.clone());
                std::thread::spawn(move || pass_on(there, &*sent));
                std::thread::spawn(move || pass_on(back, &*received));
            }
        });
        Self { port, upstream }
    }

    /// A kubeconfig that goes this way, with the rights of the tests' own.
    pub fn kubeconfig(&self, folder: &Folder) -> PathBuf {
        let cluster = json!({"name": "c", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}});
        let context = json!({"name": "c", "context": {"cluster": "c", "user": "u"}});
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster], "contexts": [context], "users": [{"name": "u"}]});
        folder.file("altered", &config.to_string())
    }
}

impl Drop for Altering {
    fn drop(&mut self) {
        let _ = self.upstream.kill();
        let _ = self.upstream.wait();
    }
}

/// Passes messages on until one side hangs up. A message begins a read: its sender has waited for the one
/// before.
fn pass_on((mut from, mut to): (TcpStream, TcpStream), alter: &dyn Fn(&str) -> String) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let read = &buffer[..count];
        let end = read.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        let head = end
            .and_then(|end| std::str::from_utf8(&read[..end]).ok())
            .filter(|head| head.contains("HTTP/1.1"));
        let (head, body) = head.map_or((String::new(), read), |head| (alter(head), &read[head.len()..]));
        if to.write_all(&[head.as_bytes(), body].concat()).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
