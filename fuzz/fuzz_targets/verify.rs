//! What verify makes of hostile playlists, records and segments: findings, and never more of them than are told.

#![no_main]

use std::collections::BTreeMap;

use keyrung::limits;
use keyrung::verify::demux::Walker;
use keyrung::verify::record::Record;
use keyrung::verify::{Findings, Profile, parse};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let mut findings = Findings::new(if kind & 1 == 0 { Profile::Rfc } else { Profile::Apple });
    match kind >> 1 & 3 {
        0 | 1 => {
            let url = Url::parse("https://example.org/film/master.m3u8").expect("a URL");
            let imports = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
            parse::parse(bytes, &url, "x", &imports, &mut findings);
        }
        2 => {
            if let Some(record) = Record::parse(bytes, &mut findings) {
                let _ = (record.files(), record.key_id());
                record.check_seal(None, &mut findings);
                record.check_playlists(None, &BTreeMap::new(), &mut findings);
            }
        }
        _ => {
            // However the segment is cut, the walk finds the same.
            let mut bytes = bytes.to_vec();
            keyrung_fuzz::mend(&mut bytes);
            let walk = |sizes: &[usize]| {
                let (mut walker, mut faults, mut rest, mut n) = (Walker::default(), 0, bytes.as_slice(), 0);
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(sizes[n % sizes.len()].min(rest.len()));
                    walker.push(piece, &mut |_, _, _| faults += 1);
                    rest = after;
                    n += 1;
                }
                let ts = walker.finish(&mut |_, _, _| faults += 1);
                (ts.packets, ts.streams.len(), faults)
            };
            assert_eq!(walk(&[usize::MAX]), walk(&[1 + usize::from(*kind), 188, 7]));
        }
    }
    assert!(findings.sorted().len() <= limits::VERIFY_FINDINGS * limits::VERIFY_FINDINGS_PER_RULE);
});
