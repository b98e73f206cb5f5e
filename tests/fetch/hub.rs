//! A hub that cuts, lies, forgets and is not there.

use super::server::{Reply, Server};
use super::{Machine, catalog, hub_source, model_file, reasons, sha256};
use whittle::catalog::{FetchError, Hub};

const PATH: &str = "/a/tiny/resolve/v1/tiny.gguf";

/// The hub gives these replies; the file is there afterwards and the hub was asked for `requests`.
#[track_caller]
fn arrives(replies: &[Reply], requests: &[&str]) {
    let file = model_file();
    let hub = Server::start(&file, replies);
    let machine = Machine::new(Hub::At(hub.base.clone()));
    machine
        .fetch(&catalog(&[hub_source(&file)]))
        .expect("a fetch");
    assert_eq!(machine.file(), Some(file));
    assert_eq!(hub.requests(), requests);
}

/// The hub gives these replies; the file is not there and the reason holds `expected`.
#[track_caller]
fn fails(replies: &[Reply], expected: &str) {
    let file = model_file();
    let hub = Server::start(&file, replies);
    let machine = Machine::new(Hub::At(hub.base.clone()));
    let reasons = reasons(machine.fetch(&catalog(&[hub_source(&file)])));
    assert!(
        reasons.contains(expected),
        "{reasons:?} should hold {expected:?}"
    );
    assert_eq!(machine.file(), None);
    drop(hub.requests());
}

#[test]
fn a_cut_connection_is_resumed_at_once() {
    arrives(
        &[Reply::Cut(100_000), Reply::Cut(50_000), Reply::Serve],
        &[
            PATH,
            &format!("{PATH} from 100000"),
            &format!("{PATH} from 150000"),
        ],
    );
}

#[test]
fn a_connection_that_brings_nothing_is_not_tried_again() {
    fails(
        &[Reply::Cut(0)],
        "the connection ended after 0 of 300007 bytes",
    );
    fails(
        &[Reply::Cut(9), Reply::Cut(0)],
        "fetch again to go on from there",
    );
}

#[test]
fn a_redirect_is_followed_with_the_range() {
    let elsewhere = format!("/elsewhere{PATH}");
    arrives(&[Reply::Redirect, Reply::Serve], &[PATH, &elsewhere]);
    arrives(
        &[Reply::Cut(5), Reply::Redirect, Reply::Serve],
        &[
            PATH,
            &format!("{PATH} from 5"),
            &format!("{elsewhere} from 5"),
        ],
    );
}

#[test]
fn a_hub_that_cannot_resume_sends_the_file_again() {
    arrives(
        &[Reply::Cut(70_000), Reply::Whole],
        &[PATH, &format!("{PATH} from 70000")],
    );
    arrives(
        &[Reply::Cut(70_000), Reply::Status(416), Reply::Serve],
        &[PATH, &format!("{PATH} from 70000"), PATH],
    );
}

#[test]
fn a_hub_that_lies_is_found_out() {
    fails(&[Reply::ClaimLonger], "has 300014 bytes, expected 300007");
    fails(&[Reply::SendLonger], "has 300008 bytes, expected 300007");
    fails(
        &[Reply::Cut(9), Reply::WrongRange],
        "was asked for bytes from 9 and answered \"bytes 8-300006/300007\"",
    );
    fails(&[Reply::Status(404)], "answered 404, expected 200 or 206");
    let (file, expected) = (model_file(), sha256(&model_file()));
    let found = sha256(&file.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
    fails(
        &[Reply::OtherBytes],
        &format!("tiny.gguf has sha256 {found}, expected {expected}"),
    );
}

#[test]
fn after_wrong_bytes_the_next_fetch_starts_afresh() {
    let file = model_file();
    let hub = Server::start(&file, &[Reply::OtherBytes, Reply::Serve]);
    let machine = Machine::new(Hub::At(hub.base.clone()));
    let text = catalog(&[hub_source(&file)]);
    reasons(machine.fetch(&text));
    machine.fetch(&text).expect("the right bytes");
    assert_eq!(hub.requests(), [PATH, PATH]);
}

#[test]
fn a_cancelled_fetch_goes_on_where_it_stopped() {
    let file = model_file();
    let hub = Server::start(&file, &[Reply::Serve, Reply::Serve]);
    let machine = Machine::new(Hub::At(hub.base.clone()));
    let text = catalog(&[hub_source(&file)]);
    let result = machine.fetch_until(&text, 100_000);
    assert!(
        matches!(result, Err(FetchError::Cancelled(_))),
        "{result:?}"
    );
    assert_eq!(machine.file(), None);

    machine.fetch(&text).expect("the rest");
    assert_eq!(machine.file(), Some(file));
    let requests = hub.requests();
    let from = requests[1]
        .strip_prefix(&format!("{PATH} from "))
        .expect("a range");
    assert!(from.parse::<u64>().expect("a number") >= 100_000, "{from}");
}

#[test]
fn without_a_hub_the_reason_is_one_sentence() {
    // Port 9 of this machine is closed.
    let file = model_file();
    let machine = Machine::new(Hub::At("http://127.0.0.1:9".to_owned()));
    let text = reasons(machine.fetch(&catalog(&[hub_source(&file)])));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "no source has tiny:");
    assert!(
        lines[1].starts_with("  http://127.0.0.1:9/a/tiny: cannot reach 127.0.0.1:9: "),
        "{text}"
    );
    assert!(
        lines[1].ends_with("; is there a network connection?"),
        "{text}"
    );

    let machine = Machine::new(Hub::Off);
    assert!(
        reasons(machine.fetch(&catalog(&[hub_source(&file)]))).contains("no hub is to be asked")
    );
}
