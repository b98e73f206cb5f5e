//! The serial ports of this computer, and why one cannot be opened.

use super::{FlashError, chain};
use serde::Serialize;
use std::io::ErrorKind;

/// A serial port that a board may be on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// What [`super::flash`] takes: `/dev/ttyACM0`, `COM3`.
    pub name: String,
    /// What the device on it calls itself.
    pub product: Option<String>,
    /// USB vendor and product number.
    pub usb_id: Option<(u16, u16)>,
    /// What tells it from others of its kind.
    pub serial_number: Option<String>,
}

/// The serial ports of this machine: those on USB first, for a board is rarely on another. Of a port that macOS lists
/// twice it is the one that does not wait for a carrier.
///
/// # Errors
/// When the system does not list them.
pub fn ports() -> Result<Vec<Port>, FlashError> {
    let found = serialport::available_ports().map_err(FlashError::Ports)?;
    let port = |info: serialport::SerialPortInfo| match info.port_type {
        serialport::SerialPortType::UsbPort(usb) => Port {
            name: info.port_name,
            product: usb.product,
            usb_id: Some((usb.vid, usb.pid)),
            serial_number: usb.serial_number,
        },
        serialport::SerialPortType::PciPort
        | serialport::SerialPortType::BluetoothPort
        | serialport::SerialPortType::Unknown => Port {
            name: info.port_name,
            product: None,
            usb_id: None,
            serial_number: None,
        },
    };
    Ok(in_order(found.into_iter().map(port).collect()))
}

/// Each once, those on USB first.
fn in_order(mut ports: Vec<Port>) -> Vec<Port> {
    let names = ports.iter().map(|port| port.name.as_str());
    let calls = names.filter_map(|name| name.strip_prefix("/dev/cu."));
    let calls: Vec<String> = calls.map(str::to_owned).collect();
    ports.retain(|port| {
        let waits = port.name.strip_prefix("/dev/tty.");
        waits.is_none_or(|name| calls.iter().all(|call| call != name))
    });
    ports.sort_by_key(|port| port.usb_id.is_none());
    ports
}

/// Why a port could not be opened, and what to do about it.
pub(super) fn cure(port: &str, error: &serialport::Error) -> String {
    if port.starts_with("tcp:") {
        return "a loader is behind a serial port; over a socket a model goes alone (whittle flash --model-only)".to_owned();
    }
    let kind = match error.kind() {
        serialport::ErrorKind::Io(kind) => kind,
        serialport::ErrorKind::NoDevice | serialport::ErrorKind::InvalidInput => {
            ErrorKind::NotFound
        }
        serialport::ErrorKind::Unknown => ErrorKind::Other,
    };
    let text = error.description.to_lowercase();
    let is_busy = kind == ErrorKind::ResourceBusy || text.contains("busy") || text.contains("lock");
    let advice = match kind {
        _ if is_busy => "another program has it open: close its monitor and try again".to_owned(),
        ErrorKind::PermissionDenied if cfg!(target_os = "linux") => format!(
            "this account may not use it: join its group (sudo usermod -aG dialout $USER, on Arch uucp; then log \
             out and in), or for once: sudo chmod a+rw {port}"
        ),
        // Linux for a file that is no terminal, which a serial port is.
        _ if text.contains("typewriter") || text.contains("inappropriate ioctl") => {
            return "this is no serial port: whittle ports lists those that are there".to_owned();
        }
        ErrorKind::NotFound => {
            "there is no such port: whittle ports lists those that are there".to_owned()
        }
        _ => return chain(error),
    };
    format!("{}: {advice}", chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &[(&str, bool)], expected: &[&str]) {
        let port = |(name, on_usb): &(&str, bool)| Port {
            name: (*name).to_owned(),
            product: None,
            usb_id: on_usb.then_some((0x303A, 0x1001)),
            serial_number: None,
        };
        let ports = in_order(found.iter().map(port).collect());
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn ports_on_usb_come_first_and_none_comes_twice() {
        check(
            &[("/dev/ttyS0", false), ("/dev/ttyACM0", true)],
            &["/dev/ttyACM0", "/dev/ttyS0"],
        );
        // macOS lists each as one that waits for a carrier and one that does not.
        check(
            &[
                ("/dev/tty.Bluetooth", false),
                ("/dev/tty.usbmodem101", true),
                ("/dev/cu.usbmodem101", true),
                ("/dev/tty.usbserial-2", true),
            ],
            &[
                "/dev/cu.usbmodem101",
                "/dev/tty.usbserial-2",
                "/dev/tty.Bluetooth",
            ],
        );
    }
}
