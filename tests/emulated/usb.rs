//! The chip's own USB beside UART 0: what is asked on either is answered on both.

use super::{desktop, flash, golden_file, golden_path, image};
use engine::sampler::Sampling;
use protocol::{Event, FRAME_BYTES, Received, Receiver, Request, SELF_TEST, decode, encode};
use std::collections::BTreeMap;
use whittle::job::Job;
use whittle::link::emulated::{Activity, Line, Machine};
use whittle::packed::PackedModel;

/// Until it waits; what it said on both lines, which is the same.
fn said(machine: &mut Machine) -> Vec<u8> {
    let (mut uart, mut usb) = (Vec::new(), Vec::new());
    loop {
        let activity = machine.run(1_000_000);
        uart.extend(machine.take_sent(Line::Uart));
        usb.extend(machine.take_sent(Line::Usb));
        if activity != Activity::Busy {
            assert_eq!(activity, Activity::Waiting);
            assert_eq!(
                String::from_utf8_lossy(&uart),
                String::from_utf8_lossy(&usb)
            );
            return usb;
        }
    }
}

/// Name and checksum of the board's model, and the hash of its self-test, asked on a line.
fn asked_on(line: Line, flash: Vec<u8>) -> (String, u32, u64) {
    let mut machine = Machine::boot(flash, BTreeMap::new());
    let start = String::from_utf8_lossy(&said(&mut machine)).into_owned();
    assert!(start.trim_end().ends_with("whittle: ready"), "{start}");
    for request in [Request::Hello, Request::SelfTest { id: 3 }] {
        let mut frame = [0; FRAME_BYTES];
        machine.receive(line, encode(&request, &mut frame).unwrap());
    }
    let (mut receiver, mut model, mut hash) = (Receiver::new(), None, None);
    for byte in said(&mut machine) {
        let Some(Received::Frame(frame)) = receiver.push(byte) else {
            continue;
        };
        match decode(frame).unwrap() {
            Event::Hello(hello) => {
                let found = hello.model.unwrap();
                model = Some((found.name.to_owned(), found.crc));
            }
            Event::Done(done) => hash = Some(done.hash),
            _ => {}
        }
    }
    let (name, crc) = model.unwrap();
    (name, crc, hash.unwrap())
}

#[test]
fn what_is_asked_over_usb_is_answered_as_over_uart_0_and_as_here() {
    let flash = flash(&image(&golden_file()));
    let over_usb = asked_on(Line::Usb, flash.clone());
    assert_eq!(over_usb, asked_on(Line::Uart, flash));
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("golden.whittle");
    std::fs::write(&path, golden_file()).unwrap();
    let packed = PackedModel::open(&path, &Job::silent()).unwrap();
    let most = SELF_TEST.max_tokens as usize;
    let here = super::desktop_drawing(&packed, SELF_TEST.prompt, Sampling::GREEDY, most);
    assert_eq!(over_usb.2, here.logits_hash.0);
}

#[test]
fn a_person_types_over_usb() {
    let file = std::fs::read(golden_path()).unwrap();
    let mut machine = Machine::boot(flash(&image(&file)), BTreeMap::new());
    said(&mut machine);
    machine.receive(Line::Usb, b"Turn ON the light!\r\n");
    let said = String::from_utf8_lossy(&said(&mut machine)).into_owned();
    let packed = PackedModel::open(&golden_path(), &Job::silent()).unwrap();
    let here = desktop(&packed, "Turn ON the light!").logits_hash.0;
    assert!(
        said.contains(&format!("whittle: logits {here:016x}")),
        "{said}"
    );
}
