//! A WAGI guest that uses Rust's standard library as programs do. The query says what: `checks`, `panic`, `exit`, `fill`.
use std::collections::HashMap;
use std::io::{self, BufRead, Read, Seek};
use std::time::{Duration, Instant, SystemTime};

struct Checks {
    made: usize,
    failed: usize,
}

impl Checks {
    fn check(&mut self, what: &str, holds: bool) {
        self.made += 1;
        if !holds {
            self.failed += 1;
            println!("{what} does not hold");
        }
    }
}

fn head() {
    print!("Content-Type: text/plain\n\n");
}

/// With the request body `one\ntwo\n` and a rest of 100 000 bytes.
fn checks() {
    head();
    let mut checks = Checks { made: 0, failed: 0 };
    let mut line = String::new();
    let mut stdin = io::stdin().lock();
    checks.check("the first line", stdin.read_line(&mut line).unwrap() == 4 && line == "one\n");
    line.clear();
    checks.check("the second line", stdin.read_line(&mut line).unwrap() == 4 && line == "two\n");
    let mut rest = Vec::new();
    checks.check("the rest", stdin.read_to_end(&mut rest).unwrap() == 100_000);
    checks.check("the end", stdin.read(&mut [0; 8]).unwrap() == 0);

    checks.check("arguments", std::env::args().skip(1).collect::<Vec<_>>() == ["checks"]);
    checks.check("a variable", std::env::var("REQUEST_METHOD").as_deref() == Ok("POST"));
    checks.check("no variable", std::env::var("NOT_THERE").is_err());
    checks.check("all variables", std::env::vars().count() > 20);

    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(15));
    checks.check("a sleep", start.elapsed() >= Duration::from_millis(15));
    checks.check("the year", SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() > 1_600_000_000);
    // The map's hasher takes its keys from random_get.
    let map: HashMap<u32, u32> = (0..1000).map(|n| (n, n * n)).collect();
    checks.check("a map", map[&31] == 961);

    checks.check("no file", std::fs::File::open("/etc/passwd").is_err());
    checks.check("no new file", std::fs::write("made.txt", "x").is_err());
    checks.check("no directory", std::fs::read_dir("/").is_err());
    checks.check("no socket", std::net::TcpStream::connect("127.0.0.1:1").is_err());
    checks.check("no listener", std::net::TcpListener::bind("127.0.0.1:0").is_err());
    checks.check("no thread", std::thread::Builder::new().spawn(|| ()).is_err());
    checks.check("no process", std::process::Command::new("true").status().is_err());
    checks.check("no seek", stdin_as_file().stream_position().is_err());

    println!("{} checks, {} failed", checks.made, checks.failed);
}

/// Standard input as a file, which is what has `seek`.
fn stdin_as_file() -> std::mem::ManuallyDrop<std::fs::File> {
    use std::os::wasi::io::FromRawFd;
    std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(0) })
}

/// Takes memory in pieces that double, so that the last one that fails leaves room.
fn fill() {
    let mut kept = vec![1u8];
    loop {
        kept.extend_from_within(..);
        if kept.len() == 1 {
            return;
        }
    }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("checks") => checks(),
        Some("panic") => panic!("on purpose"),
        Some("exit") => {
            head();
            print!("not flushed by exit");
            std::process::exit(41)
        }
        Some("fill") => fill(),
        _ => std::process::exit(2),
    }
}
