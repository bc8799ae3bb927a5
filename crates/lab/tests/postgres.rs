//! The lab's PostgreSQL server.

use std::{io::Read as _, io::Write as _, net::TcpStream, time::Duration};

use paceline_lab::Postgres;

/// Asks the server if it supports TLS. Any server answers with one letter.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut letter = [0u8];
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).is_ok()
        && stream.read_exact(&mut letter).is_ok()
        && letter == *b"N"
}

#[test]
fn it_starts_and_comes_back_after_a_crash() {
    let mut postgres = Postgres::start().unwrap();
    assert!(postgres.url().contains(&postgres.port().to_string()));
    assert!(answers(postgres.port()));
    postgres.kill();
    assert!(!answers(postgres.port()));
    postgres.restart().unwrap();
    assert!(answers(postgres.port()));
}
