//! Measures how many realistic CHANNEL_HANGUP_COMPLETE events one core decodes, compared with the best public crate.
//!
//! The event was written by a real FreeSWITCH and has 260 headers. It is decoded in two ways: from memory, which measures
//! only the codec, and from a loopback socket whose other end writes as fast as it can, which is the only way to measure
//! the other crate. Rates are per second of CPU time of the reading thread, so other work on the machine does not count.
//!
//!     cargo bench -p paceline-esl
//!

use freeswitch_esl_tokio::{EslClient, EslConnectOptions, EslEventType, EventFormat, EventOverflow};
use paceline_esl::{Decoder, Event, EventKind, Frame};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const EVENT: &[u8] = include_bytes!("hangup_complete.txt");
/// The required rate.
const BAR_PER_SECOND: f64 = 100_000.0;

fn frame() -> Vec<u8> {
    let mut frame = format!(
        "Content-Length: {}\nContent-Type: text/event-plain\n\n",
        EVENT.len()
    )
    .into_bytes();
    frame.extend_from_slice(EVENT);
    frame
}

/// CPU time of this thread, seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = stat
        .split(' ')
        .next()
        .and_then(|field| field.parse().ok())
        .unwrap_or(0.0);
    nanoseconds / 1e9
}

/// Reads every header of such an event that the driver uses.
fn look(event: &Event<'_>) -> bool {
    black_box((
        event.channel.0,
        event.cause.0,
        event.q850.number(),
        event.sip.number(),
    ));
    event.kind == EventKind::HangupComplete && event.answered_at.is_some_time()
}

fn from_memory(count: u32) -> f64 {
    let bytes = frame().repeat(64);
    let mut decoder = Decoder::new();
    let mut seen = 0;
    let started = cpu_seconds();
    while seen < count {
        for read in bytes.chunks(32 * 1024) {
            decoder.feed(read);
            while let Ok(Some(frame)) = decoder.next() {
                if let Frame::Event(body) = frame {
                    seen += u32::from(look(&Event::decode(body)));
                }
            }
        }
    }
    f64::from(seen) / (cpu_seconds() - started)
}

/// A PBX that accepts every password and then writes events without end.
fn flood() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || -> std::io::Result<()> {
        for socket in listener.incoming() {
            let mut socket = socket?;
            socket.set_nodelay(true)?;
            socket.write_all(b"Content-Type: auth/request\n\n")?;
            let mut read = [0; 4096];
            let mut text = String::new();
            while !text.contains("event plain") {
                let length = socket.read(&mut read)?;
                if length == 0 {
                    break;
                }
                let now = String::from_utf8_lossy(read.get(..length).unwrap_or_default()).into_owned();
                for _ in 0..now.matches("\n\n").count() {
                    socket.write_all(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")?;
                }
                text.push_str(&now);
            }
            let bytes = frame().repeat(64);
            while socket.write_all(&bytes).is_ok() {}
        }
        Ok(())
    });
    Ok(port)
}

fn ours_over_a_socket(port: u16, count: u32) -> std::io::Result<f64> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.write_all(b"auth x\n\nevent plain CHANNEL_HANGUP_COMPLETE\n\n")?;
    let mut decoder = Decoder::new();
    let (mut seen, started) = (0, cpu_seconds());
    while seen < count {
        let read = socket.read(decoder.space())?;
        decoder.filled(read);
        while let Ok(Some(frame)) = decoder.next() {
            if let Frame::Event(body) = frame {
                seen += u32::from(look(&Event::decode(body)));
            }
        }
    }
    Ok(f64::from(seen) / (cpu_seconds() - started))
}

async fn theirs_over_a_socket(port: u16, count: u32) -> Result<f64, Box<dyn std::error::Error>> {
    // The other crate drops events if its queue is full, unless it is told to wait.
    let patient = EslConnectOptions::default()
        .with_event_queue_size(4096)
        .with_event_overflow(EventOverflow::BlockFor(std::time::Duration::from_secs(60)));
    let (client, mut events) = EslClient::connect_with_options("127.0.0.1", port, "x", patient).await?;
    client
        .subscribe_events(EventFormat::Plain, [EslEventType::ChannelHangupComplete])
        .await?;
    let (mut seen, started) = (0, cpu_seconds());
    while seen < count {
        if let Some(Ok(event)) = events.recv().await {
            seen += u32::from(event.event_type() == Some(EslEventType::ChannelHangupComplete));
        }
    }
    Ok(f64::from(seen) / (cpu_seconds() - started))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let headers = EVENT.iter().filter(|byte| **byte == b'\n').count();
    println!(
        "CHANNEL_HANGUP_COMPLETE of {headers} headers, {} bytes",
        EVENT.len()
    );
    from_memory(20_000);
    let memory = from_memory(300_000);
    println!("ours, from memory:    {memory:>9.0} events/s");
    let port = flood()?;
    println!(
        "ours, over a socket:  {:>9.0} events/s",
        ours_over_a_socket(port, 200_000)?
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let theirs = runtime.block_on(theirs_over_a_socket(port, 30_000))?;
    println!("freeswitch-esl-tokio: {theirs:>9.0} events/s, over a socket");
    if memory < BAR_PER_SECOND {
        return Err(format!("fewer than {BAR_PER_SECOND} events a second").into());
    }
    Ok(())
}
