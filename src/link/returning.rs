//! A board that starts again: where the chip's own USB is its port, that goes away for a moment, and may come back under
//! another name.

use super::{Client, Device, HELLO_PATIENCE, Port, Proof, ProofError, TalkError, ports, prove};
use crate::job::Job;
use crate::packed::PackedModel;
use std::time::{Duration, Instant};

/// Between two looks at whether a board is back.
const AGAIN: Duration = Duration::from_millis(100);

/// Asks a board that starts, once its port is there; returns the port's new name too, where it has one. `before` are the ports
/// of this computer while it was there.
pub(super) fn when_back<T>(
    device: &Device,
    before: &[Port],
    job: &Job<'_>,
    mut ask: impl FnMut(&mut Client) -> Result<T, ProofError>,
) -> Result<(T, Option<String>), ProofError> {
    let start = Instant::now();
    let mut moved_to: Option<String> = None;
    loop {
        let client = match &moved_to {
            Some(name) => device.client_on(name),
            None => device.client(),
        };
        match client
            .map_err(ProofError::Talk)
            .and_then(|mut client| ask(&mut client))
        {
            Err(ProofError::Talk(TalkError::Port { .. } | TalkError::Gone { .. }))
                if start.elapsed() < HELLO_PATIENCE =>
            {
                job.report("Waiting for the board", 0, 0)
                    .map_err(TalkError::from)?;
                std::thread::sleep(AGAIN);
                // Where they cannot be listed the old name is tried again.
                let now = ports().unwrap_or_default();
                moved_to = successor(device.port(), before, &now).map(|port| port.name.clone());
            }
            said => return said.map(|said| (said, moved_to)),
        }
    }
}

/// As [`prove`], of a board that starts.
pub(super) fn prove_started(
    device: &Device,
    before: &[Port],
    packed: &PackedModel,
    job: &Job<'_>,
) -> Result<Proof, ProofError> {
    let (proof, moved_to) = when_back(device, before, job, |client| prove(client, packed, job))?;
    Ok(Proof { moved_to, ..proof })
}

/// The one port that was not there before and is of the same device as the one that is gone.
fn successor<'p>(gone: &str, before: &[Port], now: &'p [Port]) -> Option<&'p Port> {
    let named = |ports: &'p [Port], name: &str| ports.iter().any(|port| port.name == name);
    let old = before.iter().find(|port| port.name == gone)?;
    if old.usb_id.is_none() || named(now, gone) {
        return None;
    }
    let is_known = |name: &str| before.iter().any(|port| port.name == name);
    let mut alike = now.iter().filter(|port| {
        !is_known(&port.name)
            && port.usb_id == old.usb_id
            && port.serial_number == old.serial_number
    });
    // Of two that came at once neither is known to be it.
    alike.next().filter(|_| alike.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chip's own USB, with the number that it has by its address.
    fn chip(name: &str, number: &str) -> Port {
        Port {
            name: name.to_owned(),
            product: Some("USB JTAG/serial debug unit".to_owned()),
            usb_id: Some((0x303A, 0x1001)),
            serial_number: Some(number.to_owned()),
        }
    }

    fn check(before: &[Port], now: &[Port], expected: Option<&str>) {
        let found = successor("/dev/ttyACM0", before, now);
        assert_eq!(found.map(|port| port.name.as_str()), expected);
    }

    #[test]
    fn a_board_is_found_under_its_new_name_and_no_other_is_taken_for_it() {
        let [old, new] = ["/dev/ttyACM0", "/dev/ttyACM1"].map(|name| chip(name, "A0:76"));
        let other = chip("/dev/ttyACM2", "B1:08");
        let modem = Port {
            usb_id: Some((0x10C4, 0xEA60)),
            ..chip("/dev/ttyUSB0", "A0:76")
        };
        let before = [old.clone(), other.clone()];
        check(&before, &[new.clone(), other.clone()], Some("/dev/ttyACM1"));
        // Not back yet; back under its name; another board, another kind of device.
        check(&before, std::slice::from_ref(&other), None);
        check(&before, &[old.clone(), other.clone()], None);
        check(std::slice::from_ref(&old), &[other, modem], None);
        // Two at once; one that was there all the time; a port that was never listed.
        let third = chip("/dev/ttyACM3", "A0:76");
        check(&before, &[new.clone(), third], None);
        check(&[old, new.clone()], std::slice::from_ref(&new), None);
        check(&[], &[new], None);
    }
}
