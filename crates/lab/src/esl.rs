//! A small Event Socket client that asks a FreeSWITCH something over a connection of its own. It shares no code with the driver
//! that the tests examine: a fault of the driver must not hide itself, and a driver on tokio cannot be used from here.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use crate::{LabError, Result};

const WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Runs API commands on one connection and returns what each printed.
pub(crate) fn apis(port: u16, password: &str, commands: &[String]) -> Result<Vec<String>> {
    ask(port, password, commands).map_err(|err| LabError::Http {
        method: "Event Socket".to_owned(),
        port,
        err,
    })
}

fn ask(port: u16, password: &str, commands: &[String]) -> io::Result<Vec<String>> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(WAIT_MAX))?;
    socket.set_write_timeout(Some(WAIT_MAX))?;
    let mut reader = BufReader::new(socket.try_clone()?);
    frame(&mut reader)?;
    socket.write_all(format!("auth {password}\n\n").as_bytes())?;
    if !frame(&mut reader)?.starts_with("+OK") {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "the password is refused",
        ));
    }
    let text: String = commands
        .iter()
        .map(|command| format!("api {command}\n\n"))
        .collect();
    socket.write_all(text.as_bytes())?;
    commands.iter().map(|_| frame(&mut reader)).collect()
}

/// The next frame's body, or its reply text.
fn frame(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (mut reply, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().unwrap_or(0),
            Some(("Reply-Text", value)) => reply = value.to_owned(),
            Some(_) => {}
            None => break,
        }
    }
    if length > BODY_BYTES_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(if body.is_empty() {
        reply
    } else {
        String::from_utf8_lossy(&body).into_owned()
    })
}
