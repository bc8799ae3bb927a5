//! A double of FreeSWITCH: it speaks the Event Socket and simulates callees and agents' phones, so that the driver is
//! tested over real sockets on machines without FreeSWITCH. Its events are recordings of a real FreeSWITCH
//! (`recorded/`) with other ids, states and causes. Its replies have the same text as a real one's. The contract suite
//! also checks the double, because every scenario also runs on a real FreeSWITCH.

use paceline_lab::{Behaviour, PhoneBehaviour};
use plots::{Plot, callee, phone};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

#[path = "double/plots.rs"]
mod plots;

pub(crate) const PASSWORD: &str = "a-doubles-password";
const CREATE: &str = include_str!("recorded/channel_create.txt");
const PROGRESS: &str = include_str!("recorded/channel_progress.txt");
const ANSWER: &str = include_str!("recorded/channel_answer.txt");
const PARK: &str = include_str!("recorded/channel_park.txt");
const PLAYBACK_STOP: &str = include_str!("recorded/playback_stop.txt");
const BRIDGE: &str = include_str!("recorded/channel_bridge.txt");
const HANGUP_COMPLETE: &str = include_str!("recorded/channel_hangup_complete.txt");
const REFUSED: &str = include_str!("recorded/channel_hangup_complete_refused.txt");
const JOB: &str = include_str!("recorded/job.txt");
/// Its clock is this much ahead of ours.
const AHEAD: Duration = Duration::from_secs(3600);

fn now_us() -> u64 {
    let now = SystemTime::now() + AHEAD;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).expect("a time");
    u64::try_from(since.as_micros()).expect("a time")
}

/// A running double. It ends when dropped.
pub(crate) struct Double {
    port: u16,
    state: Arc<Mutex<State>>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    channels: BTreeMap<String, Channel>,
    /// Connections that asked for events.
    listeners: Vec<UnboundedSender<String>>,
    globals: BTreeMap<String, String>,
    phones: BTreeMap<u32, PhoneBehaviour>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone, Default)]
struct Channel {
    app: String,
    side: String,
    agent: Option<u32>,
    state: &'static str,
    rang: bool,
    early_media: bool,
    answered: bool,
    answered_at_us: u64,
    with: Option<String>,
    /// The time limit of its next stay in `park`. `None`: no limit.
    park_limit: Option<Duration>,
    /// True if it is parked after its partner has left it. False: it is hung up then.
    park_again: bool,
    /// The time at which it is hung up because it was parked too long.
    parked_until: Option<Instant>,
}

impl Channel {
    fn park(&mut self, state: &'static str) {
        self.state = state;
        self.with = None;
        if let Some(limit) = self.park_limit.take() {
            self.parked_until = Some(Instant::now() + limit);
            self.park_again = false;
        }
    }
}

/// The limit in a text such as `13:ALLOTTED_TIMEOUT` (seconds first), less 0.5 s.
fn park_limit(text: &str) -> Option<Duration> {
    let seconds: u64 = text.split(':').next()?.parse().ok()?;
    Some(Duration::from_millis(seconds * 1000 - 500))
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Double {
    pub(crate) fn start() -> Self {
        let mut double = Self {
            port: 0,
            state: Shared::default(),
            server: None,
        };
        double.restart();
        double
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection and every channel, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        let mut state = lock(&self.state);
        state.tasks.drain(..).for_each(|task| task.abort());
        *state = State {
            phones: std::mem::take(&mut state.phones),
            ..State::default()
        };
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        let address = ([127, 0, 0, 1], self.port).into();
        socket.bind(address).expect("the port is ours");
        let listener = socket.listen(64).expect("it listens");
        self.port = listener.local_addr().expect("it is bound").port();
        self.server = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
        let watching = tokio::spawn(end_the_parked(Arc::clone(&self.state)));
        lock(&self.state).tasks.push(watching);
    }

    pub(crate) fn channels(&self) -> Vec<String> {
        lock(&self.state).channels.keys().cloned().collect()
    }

    pub(crate) fn hang_up(&self, channel: &str) {
        lock(&self.state).end(channel, "NORMAL_CLEARING", 16, None);
    }

    pub(crate) fn phone(&self, agent: u32, behaviour: PhoneBehaviour) {
        lock(&self.state).phones.insert(agent, behaviour);
    }

    pub(crate) fn phone_hangs_up(&self, agent: u32) {
        let mut state = lock(&self.state);
        let of = |(_, channel): &(&String, &Channel)| channel.agent == Some(agent) && channel.answered;
        let id = state.channels.iter().find(of).map(|(id, _)| id.clone());
        state.end(&id.expect("it is on a call"), "NORMAL_CLEARING", 16, Some(200));
    }

    pub(crate) fn is_on_call(&self, agent: u32) -> bool {
        let state = lock(&self.state);
        state
            .channels
            .values()
            .any(|channel| channel.agent == Some(agent) && channel.answered)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A recorded event with other values in its headers. `None` removes a header.
fn event(recorded: &str, changes: &[(&str, Option<&str>)], body: Option<&str>) -> String {
    let (headers, _) = recorded
        .split_once("\n\n")
        .expect("an event ends with an empty line");
    let mut text = String::new();
    let now = now_us().to_string();
    let changes = &[changes, &[("Event-Date-Timestamp", Some(now.as_str()))]].concat();
    let mut left: BTreeSet<&str> = changes.iter().map(|(name, _)| *name).collect();
    for line in headers.lines() {
        let (name, _) = line.split_once(": ").unwrap_or((line, ""));
        match changes.iter().find(|(changed, _)| *changed == name) {
            Some((_, Some(value))) => text += &format!("{name}: {value}\n"),
            Some((_, None)) => {}
            None if name == "Content-Length" => {}
            None => text += &format!("{line}\n"),
        }
        left.remove(name);
    }
    for (name, value) in changes {
        if let (true, Some(value)) = (left.contains(name), value) {
            text += &format!("{name}: {value}\n");
        }
    }
    match body {
        Some(body) => text += &format!("Content-Length: {}\n\n{body}", body.len()),
        None => text.push('\n'),
    }
    format!(
        "Content-Length: {}\nContent-Type: text/event-plain\n\n{text}",
        text.len()
    )
}

impl State {
    fn tell(&mut self, text: &str) {
        self.listeners
            .retain(|listener| listener.send(text.to_owned()).is_ok());
    }

    /// An event of this channel with its present state.
    fn say(&mut self, id: &str, recorded: &str, more: &[(&str, Option<&str>)]) {
        let text = self.event(id, recorded, more);
        self.tell(&text);
    }

    fn event(&self, id: &str, recorded: &str, more: &[(&str, Option<&str>)]) -> String {
        let channel = self.channels.get(id).cloned().unwrap_or_default();
        let (answered_at, now) = (channel.answered_at_us.to_string(), now_us().to_string());
        let time = |is| Some(if is { now.as_str() } else { "0" });
        let answer_state = match (channel.answered, channel.early_media) {
            (true, _) => "answered",
            (false, true) => "early",
            (false, false) => "ringing",
        };
        let mut changes = vec![
            ("Unique-ID", Some(id)),
            ("Answer-State", Some(answer_state)),
            ("Channel-State", Some(channel.state)),
            ("Caller-Channel-Answered-Time", Some(&answered_at)),
            ("Caller-Channel-Progress-Time", time(channel.rang)),
            ("Caller-Channel-Progress-Media-Time", time(channel.early_media)),
            ("Other-Leg-Unique-ID", channel.with.as_deref()),
            ("variable_paceline_app", Some(channel.app.as_str())),
            ("variable_paceline_leg", Some(id)),
            ("variable_paceline_side", Some(channel.side.as_str())),
            ("variable_paceline_recording", None),
        ];
        changes.extend_from_slice(more);
        event(recorded, &changes, None)
    }

    /// Ends a channel. The event has the far end's SIP status if the far end ended it.
    fn end(&mut self, id: &str, cause: &str, q850: u16, sip: Option<u16>) {
        let Some(channel) = self.channels.get(id).cloned() else {
            return;
        };
        if let Some(other) = &channel.with
            && let Some(left) = self.channels.get_mut(other)
            && left.with.as_deref() == Some(id)
        {
            let other = other.clone();
            if left.park_again {
                left.park("CS_PARK");
                self.say(&other, PARK, &[]);
            } else {
                left.with = None;
                self.end(&other, "NORMAL_CLEARING", 16, None);
            }
        }
        let (q850, sip) = (q850.to_string(), sip.map(|sip| sip.to_string()));
        let recorded = if channel.answered {
            HANGUP_COMPLETE
        } else {
            REFUSED
        };
        self.say(
            id,
            recorded,
            &[
                ("Channel-State", Some("CS_REPORTING")),
                ("Answer-State", Some("hangup")),
                ("Hangup-Cause", Some(cause)),
                ("variable_hangup_cause_q850", Some(&q850)),
                ("variable_sip_term_status", sip.as_deref()),
            ],
        );
        if !channel.answered {
            self.job(id, &format!("-ERR {cause}\n"));
        }
        self.channels.remove(id);
    }

    fn job(&mut self, id: &str, words: &str) {
        let text = event(JOB, &[("Job-UUID", Some(id))], Some(words));
        self.tell(&text);
    }
}

/// Ends every channel that was parked longer than its limit.
async fn end_the_parked(shared: Shared) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut state = lock(&shared);
        let now = Instant::now();
        let over = |channel: &Channel| channel.parked_until.is_some_and(|until| until <= now);
        let channels = state.channels.iter().filter(|(_, channel)| over(channel));
        let all: Vec<String> = channels.map(|(id, _)| id.clone()).collect();
        for id in all {
            state.end(&id, "ALLOTTED_TIMEOUT", 16, None);
        }
    }
}

async fn serve(listener: TcpListener, state: Shared) {
    while let Ok((socket, _)) = listener.accept().await {
        let task = tokio::spawn(converse(socket, Arc::clone(&state)));
        lock(&state).tasks.push(task);
    }
}

async fn converse(socket: TcpStream, state: Shared) {
    let (reading, mut writing) = socket.into_split();
    let (out, mut waiting) = unbounded_channel::<String>();
    let writer = tokio::spawn(async move {
        while let Some(text) = waiting.recv().await {
            if writing.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    lock(&state).tasks.push(writer);
    let _ = out.send("Content-Type: auth/request\n\n".to_owned());
    let mut lines = BufReader::new(reading).lines();
    let mut command: Vec<String> = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.is_empty() {
            command.push(line);
            continue;
        }
        let whole = std::mem::take(&mut command);
        let first = whole.first().cloned().unwrap_or_default();
        let text = match first.split_once(' ').unwrap_or((&first, "")) {
            ("auth", PASSWORD) => reply("+OK accepted"),
            ("auth", _) => {
                let _ = out.send(reply("-ERR invalid"));
                return;
            }
            ("filter", _) => reply("+OK filter added."),
            ("event", _) => {
                lock(&state).listeners.push(out.clone());
                reply("+OK event listener enabled plain")
            }
            ("bgapi", command) => {
                let job = whole.get(1).and_then(|line| line.strip_prefix("Job-UUID: "));
                let job = job.unwrap_or_default().to_owned();
                if command.starts_with("originate ") {
                    let placing = originate(Arc::clone(&state), command.to_owned(), job.clone());
                    let task = tokio::spawn(placing);
                    lock(&state).tasks.push(task);
                } else {
                    let printed = api(&state, command);
                    lock(&state).job(&job, &printed);
                }
                reply(&format!("+OK Job-UUID: {job}\nJob-UUID: {job}"))
            }
            ("sendmsg", id) if lock(&state).channels.contains_key(id) => {
                let playing = play(Arc::clone(&state), id.to_owned());
                let task = tokio::spawn(playing);
                lock(&state).tasks.push(task);
                reply("+OK")
            }
            ("api", command) => {
                let body = api(&state, command);
                format!(
                    "Content-Type: api/response\nContent-Length: {}\n\n{body}",
                    body.len()
                )
            }
            _ => reply("-ERR command not found"),
        };
        let _ = out.send(text);
    }
}

fn reply(text: &str) -> String {
    format!("Content-Type: command/reply\nReply-Text: {text}\n\n")
}

fn api(shared: &Shared, command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let mut state = lock(shared);
    match words[..] {
        ["version"] => "FreeSWITCH Version 1.11.3-dev (double)\n".to_owned(),
        ["global_setvar", pair] => {
            let (name, value) = pair.split_once('=').expect("a pair");
            state.globals.insert(name.to_owned(), value.to_owned());
            "+OK".to_owned()
        }
        ["global_getvar", name] => state.globals.get(name).cloned().unwrap_or_default(),
        ["show", "channels", "as", "json"] => {
            let row = |id: &String| format!(r#"{{"uuid":"{id}","direction":"outbound"}}"#);
            let rows: Vec<String> = state.channels.keys().map(row).collect();
            match rows.len() {
                // The reply has a space and no rows, like a real one's.
                0 => r#"{"row_count": 0}"#.to_owned(),
                count => format!(r#"{{"row_count":{count},"rows":[{}]}}"#, rows.join(",")),
            }
        }
        ["uuid_dump", id] if state.channels.contains_key(id) => {
            let text = state.event(id, PARK, &[("Event-Name", Some("CHANNEL_DATA"))]);
            let (_, dump) = text.split_once("\n\n").expect("headers");
            dump.to_owned()
        }
        ["file_exists", path] => (!path.contains("no-such")).to_string(),
        ["uuid_exists", id] => state.channels.contains_key(id).to_string(),
        ["uuid_kill", id] if state.channels.contains_key(id) => {
            state.end(id, "NORMAL_CLEARING", 16, None);
            "+OK\n".to_owned()
        }
        ["uuid_dump" | "uuid_kill", _] => "-ERR No such channel!\n".to_owned(),
        ["uuid_setvar_multi", id, pairs] if state.channels.contains_key(id) => {
            let pairs: BTreeMap<&str, &str> = pairs.split(';').filter_map(|p| p.split_once('=')).collect();
            if let Some(channel) = state.channels.get_mut(id) {
                channel.park_again = pairs["park_after_bridge"] == "true";
                channel.park_limit = park_limit(pairs["park_timeout"]);
            }
            "+OK\n".to_owned()
        }
        ["uuid_setvar", id, ..] if state.channels.contains_key(id) => "+OK\n".to_owned(),
        ["uuid_bridge", one, other] => {
            let lives = |id: &str| state.channels.get(id).is_some_and(|channel| channel.answered);
            if !(lives(one) && lives(other)) {
                return "-ERR Invalid uuid\n".to_owned();
            }
            let joining = join(Arc::clone(shared), one.to_owned(), other.to_owned());
            let task = tokio::spawn(joining);
            state.tasks.push(task);
            format!("+OK {other}\n")
        }
        _ => "-ERR command not found\n".to_owned(),
    }
}

/// A sound of three seconds, like the lab's.
async fn play(shared: Shared, id: String) {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut state = lock(&shared);
    if state.channels.contains_key(&id) {
        state.say(&id, PLAYBACK_STOP, &[]);
    }
}

async fn join(shared: Shared, one: String, other: String) {
    tokio::time::sleep(Duration::from_millis(40)).await;
    let mut state = lock(&shared);
    let both = state.channels.contains_key(&one) && state.channels.contains_key(&other);
    if !both {
        for id in [one, other] {
            if state.channels.contains_key(&id) {
                state.say(&id, PARK, &[]);
            }
        }
        return;
    }
    for (id, with, now) in [
        (&one, &other, "CS_SOFT_EXECUTE"),
        (&other, &one, "CS_EXCHANGE_MEDIA"),
    ] {
        if let Some(channel) = state.channels.get_mut(id) {
            channel.state = now;
            channel.with = Some(with.clone());
            channel.parked_until = None;
        }
    }
    let sides = [
        ("Bridge-A-Unique-ID", Some(one.as_str())),
        ("Bridge-B-Unique-ID", Some(other.as_str())),
    ];
    state.say(&one, BRIDGE, &sides);
}

/// Carries out `originate {…}dial &park()`.
async fn originate(shared: Shared, command: String, id: String) {
    let (braces, rest) = command.split_once('}').expect("braces");
    let braces = braces.strip_prefix("originate {").expect("an originate");
    let variables: BTreeMap<&str, &str> = braces.split(',').filter_map(|v| v.split_once('=')).collect();
    let dial = rest.strip_suffix(" &park()").expect("it is parked");
    assert_eq!(variables["origination_uuid"], id);
    let plot = if let Some(number) = dial.strip_prefix("sofia/gateway/carrier/") {
        (Behaviour::of(number).map(callee), None)
    } else if let Some(agent) = dial.strip_prefix("user/agent-").and_then(|n| n.parse().ok()) {
        let behaviour = lock(&shared).phones.get(&agent).copied().unwrap_or_default();
        (Some(phone(behaviour)), Some(agent))
    } else {
        (None, None)
    };
    let (Some(plot), agent) = plot else {
        return lock(&shared).job(&id, "-ERR INVALID_GATEWAY\n");
    };
    let channel = Channel {
        app: variables["paceline_app"].to_owned(),
        side: variables["paceline_side"].to_owned(),
        agent,
        state: "CS_CONSUME_MEDIA",
        park_again: true,
        park_limit: variables.get("park_timeout").and_then(|limit| park_limit(limit)),
        ..Channel::default()
    };
    {
        let mut state = lock(&shared);
        state.channels.insert(id.clone(), channel);
        state.say(&id, CREATE, &[]);
    }
    // The timeout counts a started second as a whole one.
    let seconds: u64 = variables["originate_timeout"].parse().expect("seconds");
    let patience = Duration::from_millis(seconds * 1000 - 900);
    if tokio::time::timeout(patience, ring(&shared, &id, &plot))
        .await
        .is_err()
    {
        return lock(&shared).end(&id, "NO_ANSWER", 19, None);
    }
    if let Some((cause, q850, sip)) = plot.refuses {
        return lock(&shared).end(&id, cause, q850, Some(sip));
    }
    {
        let mut state = lock(&shared);
        let Some(channel) = state.channels.get_mut(&id) else {
            return;
        };
        channel.answered = true;
        channel.answered_at_us = now_us();
        state.say(&id, ANSWER, &[]);
        state.job(&id, &format!("+OK {id}\n"));
        if let Some(channel) = state.channels.get_mut(&id) {
            channel.park("CS_EXECUTE");
        }
        state.say(&id, PARK, &[]);
    }
    let limit = variables["api_on_answer"]
        .split("\\s")
        .find_map(|word| word.strip_prefix('+')?.split('\\').next()?.parse().ok())
        .expect("a limit");
    let limit = Duration::from_secs(limit);
    match plot.hangs_up_after.filter(|after| *after < limit) {
        Some(after) => {
            tokio::time::sleep(after).await;
            lock(&shared).end(&id, "NORMAL_CLEARING", 16, Some(200));
        }
        None => {
            tokio::time::sleep(limit).await;
            lock(&shared).end(&id, "ALLOTTED_TIMEOUT", 16, None);
        }
    }
}

/// Sends all events before the answer or the refusal.
async fn ring(shared: &Shared, id: &str, plot: &Plot) {
    let signs = [
        (plot.rings, "CHANNEL_PROGRESS"),
        (plot.early_media, "CHANNEL_PROGRESS_MEDIA"),
    ];
    for (lasts, name) in signs {
        let Some(lasts) = lasts else { continue };
        {
            let mut state = lock(shared);
            if let Some(channel) = state.channels.get_mut(id) {
                channel.rang |= name == "CHANNEL_PROGRESS";
                channel.early_media |= name == "CHANNEL_PROGRESS_MEDIA";
                state.say(id, PROGRESS, &[("Event-Name", Some(name))]);
            }
        }
        tokio::time::sleep(lasts).await;
    }
    if let Some(silent) = plot.silent {
        tokio::time::sleep(silent).await;
    }
    if plot.never_answers {
        std::future::pending::<()>().await;
    }
}
