//! A test service for the outside check. The last digit of a number decides its answer, and it can fail in many ways.

use jiff::Timestamp;
use paceline::clock::Clock;
use paceline_core::time::Wall;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the service behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plays {
    /// It answers for every number.
    Well,
    /// It answers after this time.
    Slow(Duration),
    /// It answers for every second number only, and adds an answer that cannot be read.
    HalfAnswers,
    /// It answers for numbers other than those in the request.
    OtherNumbers,
    /// It closes the connection in the middle of the reply.
    HalfBody,
    /// Its reply is JSON of another form.
    WrongJson,
    /// Its reply is not JSON, and repeats the numbers.
    NoJson,
    /// It replies with status 500.
    Error500,
    /// It replies with status 429 and a `Retry-After` of this many seconds.
    Busy(u32),
    /// It redirects to another URL.
    Redirects,
    /// It never replies.
    Hangs,
    /// Its reply does not end.
    HugeBody,
}

/// How long its answers are valid.
pub(crate) const HOLDS: Duration = Duration::from_secs(24 * 3_600);
/// How long a phone stays switched off.
pub(crate) const OFF: Duration = Duration::from_secs(3_600);
pub(crate) const SECRET: &str = "s3cret";

pub(crate) struct Service {
    pub(crate) url: String,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    clock: Clock,
    plays: Mutex<Plays>,
    asked: Mutex<BTreeMap<String, u32>>,
    batches: Mutex<Vec<usize>>,
    /// The number of requests that it has read.
    requests: watch::Sender<usize>,
}

impl Service {
    pub(crate) async fn start(clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/check", listener.local_addr().unwrap());
        let state = Arc::new(State {
            clock,
            plays: Mutex::new(Plays::Well),
            asked: Mutex::default(),
            batches: Mutex::default(),
            requests: watch::Sender::new(0),
        });
        let serving = state.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = serving.clone();
                // A client that closed the connection is not a fault of the service.
                tokio::spawn(async move { state.serve(stream).await.ok() });
            }
        });
        Self { url, state, task }
    }

    pub(crate) fn play(&self, plays: Plays) {
        *self.state.plays.lock().unwrap() = plays;
    }

    /// How often the job asked for each number.
    pub(crate) fn asked(&self) -> BTreeMap<String, u32> {
        self.state.asked.lock().unwrap().clone()
    }

    /// The sizes of all requests.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.state.batches.lock().unwrap().clone()
    }

    /// Returns once it has read this many requests.
    pub(crate) async fn has_read(&self, requests: usize) {
        let mut seen = self.state.requests.subscribe();
        seen.wait_for(|seen| *seen >= requests).await.unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some((head, body)) = request(&mut stream).await? else {
            return Ok(());
        };
        let question: Value = serde_json::from_slice(&body).unwrap();
        let numbers: Vec<String> = serde_json::from_value(question["numbers"].clone()).unwrap();
        {
            let mut asked = self.asked.lock().unwrap();
            for number in &numbers {
                *asked.entry(number.clone()).or_default() += 1;
            }
        }
        self.batches.lock().unwrap().push(numbers.len());
        self.requests.send_modify(|n| *n += 1);
        if !head.contains(&format!("authorization: bearer {SECRET}")) {
            return reply(&mut stream, "401 Unauthorized", "", "{}").await;
        }
        let plays = *self.plays.lock().unwrap();
        let all = || self.answers(&numbers).to_string();
        match plays {
            Plays::Well => reply(&mut stream, "200 OK", "", &all()).await,
            Plays::Slow(wait) => {
                tokio::time::sleep(wait).await;
                reply(&mut stream, "200 OK", "", &all()).await
            }
            Plays::HalfAnswers => {
                let half: Vec<String> = numbers.iter().step_by(2).cloned().collect();
                let mut answers = self.answers(&half);
                let other = numbers.get(1).cloned().unwrap_or_default();
                let broken = json!({"number": other, "verdict": "perhaps", "expires_at": "soon"});
                answers["answers"].as_array_mut().unwrap().push(broken);
                reply(&mut stream, "200 OK", "", &answers.to_string()).await
            }
            Plays::OtherNumbers => {
                let others = self.answers(&["+442079460000".to_owned()]);
                reply(&mut stream, "200 OK", "", &others.to_string()).await
            }
            Plays::HalfBody => {
                let body = all();
                let half = &body[..body.len() / 2];
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{half}").as_bytes()).await
            }
            Plays::WrongJson => reply(&mut stream, "200 OK", "", r#"{"numbers": 3}"#).await,
            Plays::NoJson => reply(&mut stream, "200 OK", "", &numbers.join(" ")).await,
            Plays::Error500 => reply(&mut stream, "500 Internal Server Error", "", &numbers.join(" ")).await,
            Plays::Busy(seconds) => {
                let header = format!("retry-after: {seconds}\r\n");
                reply(&mut stream, "429 Too Many Requests", &header, "").await
            }
            Plays::Redirects => {
                reply(&mut stream, "307 Temporary Redirect", "location: /other\r\n", "").await
            }
            Plays::Hangs => {
                // Waits until the client closes the connection.
                stream.read(&mut [0; 1]).await.map(drop)
            }
            Plays::HugeBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"answers\":[").await?;
                loop {
                    stream.write_all(&[b' '; 64 * 1024]).await?;
                }
            }
        }
    }

    fn answers(&self, numbers: &[String]) -> Value {
        let at = |after: Duration| utc(self.clock.now().wall.plus(after));
        let answers = numbers.iter().map(|number| {
            let (verdict, reason) = match number.chars().last() {
                Some('1') => ("deny", "vacant"),
                Some('2') => ("defer", "switched off"),
                Some('3') => ("deny", "suspended"),
                _ => ("allow", "in service"),
            };
            json!({
                "number": number,
                "verdict": verdict,
                "until": (verdict == "defer").then(|| at(OFF)),
                "line_type": "mobile",
                "reason": reason,
                "evidence_id": format!("check-{verdict}"),
                "expires_at": at(HOLDS),
                "more": {"that": "Paceline does not read"},
            })
        });
        json!({"answers": answers.collect::<Vec<_>>()})
    }
}

fn utc(at: Wall) -> String {
    Timestamp::from_millisecond(at.0).unwrap().to_string()
}

/// The head (in lower case) and the body of a request.
async fn request(stream: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.lines().next().unwrap().parse().unwrap();
    while read.len() < head_end + length {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, read[head_end..].to_vec())))
}

async fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await
}
