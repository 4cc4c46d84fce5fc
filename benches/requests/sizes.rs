//! The same requests beside few and beside many users, in turns: what grows with the directory shows.

use super::{
    GROUPS_URL, PAGE_USERS, ROUNDS, Request, Round, Server, USERS_URL, add_members, create_users,
    lift_limits, load_average, median, round,
};
use serde_json::json;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;
use tempfile::TempDir;

const FEW: usize = 1000;

/// A server, and the ids of its users in the order of their numbers.
struct Directory {
    server: Server,
    users: Vec<String>,
    /// A group that gives nothing.
    group: String,
}

impl Directory {
    fn of(state: &TempDir, users: usize) -> Self {
        let server = Server::local(state.path());
        lift_limits(&server);
        let started = Instant::now();
        let users = create_users(&server, users);
        eprintln!("{} users after {:.0} s", users.len(), started.elapsed().as_secs_f64());
        let body = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "some"});
        let created = server.call(&Request::send("POST", GROUPS_URL, &body));
        let group = created["id"].as_str().unwrap().to_owned();
        Self { server, users, group }
    }

    fn user(&self, n: usize) -> (usize, &str) {
        let number = n * 7919 % self.users.len();
        (number, &self.users[number])
    }
}

type Make = fn(&Directory, usize) -> Option<Request>;

const ROWS: [(&str, Make); 5] = [
    ("get user by id", |directory, n| Some(Request::get(format!("{USERS_URL}/{}", directory.user(n).1)))),
    ("filter by userName", |directory, n| {
        let name = format!("pool-{}@contoso.example", directory.user(n).0);
        Some(Request::get(format!("{USERS_URL}?filter=userName%20eq%20%22{name}%22")))
    }),
    ("page of 100 at nine tenths", |directory, _| {
        let start = directory.users.len() / 10 * 9 + 1;
        Some(Request::get(format!("{USERS_URL}?startIndex={start}&count={PAGE_USERS}")))
    }),
    ("add member", |directory, n| {
        let user = directory.users.get(n..=n)?;
        Some(add_members(&directory.group, user))
    }),
    ("first page", |_, _| Some(Request::get(format!("{USERS_URL}?count={PAGE_USERS}")))),
];

pub fn measure(many: usize) {
    let load_before = load_average();
    let states = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let directories = [Directory::of(&states[0], FEW), Directory::of(&states[1], many)];
    println!(
        "| operation                    | µs at {FEW} | µs at {many} | ratio | CPU µs | CPU µs | ratio |"
    );
    println!("|------------------------------|-----------|-------------|-------|--------|--------|-------|");
    for (name, make) in ROWS {
        let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
        let next = [AtomicUsize::new(0), AtomicUsize::new(0)];
        for _ in 0..ROUNDS {
            for (at, directory) in directories.iter().enumerate() {
                let make = |n: usize| make(directory, n);
                rounds[at].extend(round(&directory.server, 1, &next[at], &make));
            }
        }
        let [few, many] = rounds.map(|rounds| {
            let of = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
            (of(|round| 1e6 / round.per_second), of(|round| round.cpu_us))
        });
        println!(
            "| {name:<28} | {:>9.0} | {:>11.0} | {:>5.2} | {:>6.0} | {:>6.0} | {:>5.2} |",
            few.0,
            many.0,
            many.0 / few.0,
            few.1,
            many.1,
            many.1 / few.1,
        );
    }
    let [few, many] = directories.map(|directory| directory.server.resident_mib());
    println!("resident memory: {few:.1} MiB and {many:.1} MiB");
    println!("load average: {load_before} before, {} after", load_average());
}
