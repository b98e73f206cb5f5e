//! Files of a model hub, over HTTP, resumed where a connection ended.
//!
//! A range request (RFC 9110, section 14) asks for what is missing. There is no `If-Range`: the catalog knows each
//! file's hash, so a file that changed between two connections is found out, with or without the server's help.

use super::error::FetchError;
use super::partial::{Meter, Partial, Stopped};
use std::time::Duration;
use ureq::http::{Response, header};
use ureq::{Agent, Body};

/// A server that does not answer in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that brings nothing for this long has ended.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections that may end early in one fetch of a file. Each brought something, or the fetch would have ended.
const MOST_CUTS: u32 = 20;

/// One repository at one revision.
#[derive(Debug)]
pub(super) struct HubFiles<'a> {
    agent: Agent,
    base: &'a str,
    repo: &'a str,
    revision: &'a str,
}

impl<'a> HubFiles<'a> {
    pub(super) fn new(base: &'a str, repo: &'a str, revision: &'a str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("whittle/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build();
        Self {
            agent: config.into(),
            base,
            repo,
            revision,
        }
    }

    /// Completes the file's `.part`, over as many connections as it takes.
    pub(super) fn file(&self, partial: &Partial<'_>, meter: &Meter<'_>) -> Result<(), FetchError> {
        let path = partial
            .file
            .parts
            .first()
            .map_or(partial.file.name.as_str(), |part| &part.path);
        let url = format!(
            "{}/{}/resolve/{}/{path}",
            self.base, self.repo, self.revision
        );
        let mut cuts = 0;
        loop {
            let start = partial.len()?;
            match self.connection(&url, start, partial, meter) {
                Ok(()) => return Ok(()),
                Err(FetchError::Cut { .. }) if partial.len()? > start && cuts < MOST_CUTS => {
                    cuts += 1
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One request and what it brings; `start` bytes are here.
    fn connection(
        &self,
        url: &str,
        start: u64,
        partial: &Partial<'_>,
        meter: &Meter<'_>,
    ) -> Result<(), FetchError> {
        meter.at(start)?;
        let expected = partial.file.bytes;
        let mut request = self.agent.get(url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(|error| unreachable(url, &error))?;
        let start = match (response.status().as_u16(), start) {
            (200, 0) => 0,
            // The server does not resume: what is here comes again.
            (200, _) => {
                partial.truncate(0)?;
                0
            }
            (206, 1..) => {
                check_range(url, start, expected, &response)?;
                start
            }
            // The server's file is shorter than what is here.
            (416, 1..) => {
                partial.truncate(0)?;
                return self.connection(url, 0, partial, meter);
            }
            (status, _) => {
                return Err(FetchError::Status {
                    url: url.to_owned(),
                    status,
                });
            }
        };
        if let Some(length) = response.body().content_length()
            && start.saturating_add(length) != expected
        {
            let found = start.saturating_add(length);
            return Err(FetchError::Length {
                place: url.to_owned(),
                found,
                expected,
            });
        }
        receive(url, response, partial, meter)
    }
}

fn receive(
    url: &str,
    response: Response<Body>,
    partial: &Partial<'_>,
    meter: &Meter<'_>,
) -> Result<(), FetchError> {
    let expected = partial.file.bytes;
    let cut = |found, reason: String| FetchError::Cut {
        url: url.to_owned(),
        found,
        expected,
        reason,
    };
    match partial.append(&mut response.into_body().into_reader(), expected, meter) {
        Ok(length) if length == expected => Ok(()),
        Ok(length) => Err(cut(length, "the server closed it".to_owned())),
        Err(Stopped::Here(error)) => Err(error),
        Err(Stopped::There(error)) => Err(cut(partial.len()?, error.to_string())),
        Err(Stopped::TooLong) => {
            partial.truncate(0)?;
            Err(FetchError::Length {
                place: url.to_owned(),
                found: expected + 1,
                expected,
            })
        }
    }
}

/// Checks that a partial answer begins where it was asked to and belongs to a file of the right length.
fn check_range(
    url: &str,
    start: u64,
    expected: u64,
    response: &Response<Body>,
) -> Result<(), FetchError> {
    let found = response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    match parse_range(found) {
        Some((first, total)) if first == start && total.is_none_or(|total| total == expected) => {
            Ok(())
        }
        Some((first, Some(total))) if first == start => Err(FetchError::Length {
            place: url.to_owned(),
            found: total,
            expected,
        }),
        Some(_) | None => Err(FetchError::Range {
            url: url.to_owned(),
            expected: start,
            found: found.to_owned(),
        }),
    }
}

/// First byte and length of the whole file, if known, of a `Content-Range`: `bytes 5-9/10` or `bytes 5-9/*`.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = if total.trim() == "*" {
        None
    } else {
        Some(total.trim().parse().ok()?)
    };
    (first <= last).then_some((first, total))
}

fn unreachable(url: &str, error: &ureq::Error) -> FetchError {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host).to_owned();
    let reason = match error {
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        ureq::Error::Timeout(_) => "it does not answer".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    FetchError::Unreachable { host, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read_or_refused() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for wrong in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes 9-5/10",
            "bytes */10",
            "items 5-9/10",
            "bytes a-9/10",
        ] {
            assert_eq!(parse_range(wrong), None, "{wrong:?}");
        }
    }
}
