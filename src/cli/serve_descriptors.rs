//! How many connections the system lets the key server have: each takes a file descriptor, and so does what is sent on it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::SERVER_OPEN_FILES;
use crate::server::config::Config;

/// Descriptors that are open besides connections: standard streams, the runtime's, listeners, logs, the key store.
const OTHERS: u64 = 64;

/// Descriptors of each file that is being sent, if all were opened at the same moment: its folder's too.
const OF_A_FILE: u64 = 2;

/// Raises the limit of open files to what the system allows. Where that is less than connections and files take, there
/// are fewer connections, and it gives back how many files are allowed.
pub fn bound_connections(config: &mut Config) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = wanted(config.limits.connections as u64);
    let current = current.filter(|current| *current < wanted)?;
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(current);
    let allowed = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    };
    if allowed >= wanted {
        return None;
    }
    config.limits.connections = usize::try_from(room(allowed)).unwrap_or(usize::MAX);
    Some(allowed)
}

/// What so many connections take.
fn wanted(connections: u64) -> u64 {
    let of_files = OF_A_FILE * connections.min(SERVER_OPEN_FILES as u64);
    connections.saturating_add(of_files).saturating_add(OTHERS)
}

/// The connections that so many descriptors are enough for: one at least.
fn room(allowed: u64) -> u64 {
    let left = allowed.saturating_sub(OTHERS);
    // As many files as connections, or all files that there may be.
    let most = (left / (1 + OF_A_FILE)).max(left.saturating_sub(OF_A_FILE * SERVER_OPEN_FILES as u64));
    most.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_as_there_is_room_for_and_no_more() {
        for allowed in [67, 68, 256, 1024, 3000, 3136, 3137, 4096, 16_384, 1 << 20] {
            let connections = room(allowed);
            assert!(wanted(connections) <= allowed, "{connections} connections in {allowed}");
            assert!(wanted(connections + 1) > allowed, "{connections} connections in {allowed}");
        }
        assert_eq!((room(0), room(64)), (1, 1));
    }
}
