//! A database server that says what the input says, one part after the other, whatever it is asked.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use testbed::bug;
use testbed::database::{Arguments, Engine, Login, Password};
use testbed::probe::{Outcome, Pace, Prober, Target, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{SECRET, parts, without_waiting};

/// How long the server waits for a word of the client's before it goes on by itself. The clock stands still:
/// this is over once both wait.
const TURN: Duration = Duration::from_millis(1);

/// An address of this machine that counts as another one's, because it is no loopback: there the password
/// must not be given away. Nothing is sent to find it out.
static ELSEWHERE: LazyLock<Option<IpAddr>> = LazyLock::new(|| {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    // Also what a firewall lets through to this machine itself.
    let listener = std::net::TcpListener::bind((address, 0)).ok()?;
    let to = listener.local_addr().ok()?;
    std::net::TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()?;
    (!address.is_loopback()).then_some(address)
});

/// Makes one attempt. The input's first byte says what is asked for and how.
pub fn attempt(engines: [Engine; 2], data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let is = |bit: u8| how & (1 << bit) != 0;
    let host = ELSEWHERE.filter(|_| is(0)).unwrap_or(Ipv4Addr::LOCALHOST.into());
    let login = |user: &str| Login {
        user: user.into(),
        password: Password::new(SECRET),
        database: Some("shop".into()),
    };
    let container = || {
        serde_json::from_value(serde_json::json!({"name": "db", "args": ["--port=3306", "-c", "fsync=off"]}))
    };
    let mut target = Target {
        engine: engines[usize::from(is(1))],
        host: host.to_string(),
        port: 0,
        way: None,
        login: login("app"),
        admin: is(2).then(|| login("root")),
        arguments: if is(3) { container().ok().as_ref().and_then(Arguments::of) } else { None },
        tls: if is(4) { Tls::AsNeeded } else { Tls::Never },
        authority: None,
        may_reveal: false,
        pace: Pace { usual: Duration::ZERO, setting_up: Duration::ZERO },
    };
    let heard = Rc::new(RefCell::new(Vec::new()));
    let outcome = without_waiting().block_on(async {
        let listener = TcpListener::bind((host, 0)).await.expect("a port");
        target.port = listener.local_addr().expect("an address").port();
        let says: VecDeque<&[u8]> = parts(data).collect();
        let mut prober = Prober::new(target);
        tokio::select! {
            outcome = prober.attempt() => outcome,
            never = serve(&listener, says, &heard) => match never {},
        }
    });
    check(&outcome, &heard.borrow(), host);
}

async fn serve(
    listener: &TcpListener,
    mut says: VecDeque<&[u8]>,
    heard: &RefCell<Vec<u8>>,
) -> std::convert::Infallible {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = converse(stream, &mut says, heard).await;
        }
    }
}

async fn converse(
    mut stream: TcpStream,
    says: &mut VecDeque<&[u8]>,
    heard: &RefCell<Vec<u8>>,
) -> std::io::Result<()> {
    // Thousands of these a second would leave no port free: nothing is kept of a connection that is over.
    #[allow(deprecated, reason = "with no time to linger it does not block")]
    stream.set_linger(Some(Duration::ZERO))?;
    let mut buffer = [0; 4096];
    while let Some(words) = says.pop_front() {
        stream.write_all(words).await?;
        match tokio::time::timeout(TURN, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(count) => heard.borrow_mut().extend_from_slice(&buffer[..count?]),
            Err(_) => {}
        }
    }
    stream.shutdown().await?;
    while let count @ 1.. = stream.read(&mut buffer).await? {
        heard.borrow_mut().extend_from_slice(&buffer[..count]);
    }
    Ok(())
}

/// What holds of every attempt, whatever the server is.
fn check(outcome: &Outcome, heard: &[u8], host: IpAddr) {
    let told = format!("{outcome:?}");
    let is_given = heard.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    hold(!told.contains(SECRET), &format!("the password is told: {told}"));
    hold(host.is_loopback() || !is_given, "the password was given to another machine in clear text");
    // What a library panics over is told as the server's doing; any other panic is one.
    hold(bug::seen().is_none(), &format!("{:?}", bug::seen()));
}

/// An assertion that can be read: panics print nothing here.
fn hold(claim: bool, otherwise: &str) {
    if !claim {
        eprintln!("{otherwise}");
        std::process::abort();
    }
}
