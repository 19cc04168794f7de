//! The playlists: what RFC 8216 asks of them, and that m3u8-rs reads them as they were meant.

use m3u8_rs::{MediaPlaylistType, Playlist, parse_playlist_res};

use super::common::{Check, every};
use super::frames::{case_name, cases};
use super::package::{self, Package, Rendition};
use super::table::{self, Fixture};

fn media(rendition: &Rendition) -> Check {
    let Ok(Playlist::MediaPlaylist(list)) = parse_playlist_res(rendition.playlist.as_bytes()) else {
        return Err("m3u8-rs does not read the media playlist".to_owned());
    };
    check!(list.end_list && list.playlist_type == Some(MediaPlaylistType::Vod), "not a finished VOD playlist");
    check!(list.version.is_some_and(|version| version >= 3), "VERSION {:?}", list.version);
    check!(list.segments.len() == rendition.segments.len(), "{} segments are read", list.segments.len());
    for (read, segment) in list.segments.iter().zip(&rendition.segments) {
        check!(read.uri == segment.uri, "{} is read as {}", segment.uri, read.uri);
        let iv = read.key.as_ref().and_then(|key| key.iv.clone()).unwrap_or_default();
        check!(iv == format!("0x{}", segment.iv), "the IV of {} is read as {iv}", segment.uri);
        // VERSION 3: the target is the ceiling of the longest (spec VER-06b).
        check!(segment.duration.ceil() <= list.target_duration as f64, "{} lasts {} s", segment.uri, segment.duration);
        check!(segment.duration > 0.0, "{} lasts {} s", segment.uri, segment.duration);
    }
    let sum: f64 = rendition.segments.iter().map(|segment| segment.duration).sum();
    let told = rendition.json["duration"].as_f64().ok_or("no duration in the result")?;
    check!((sum - told).abs() < 0.001, "EXTINF sums up to {sum}, the result says {told}");
    check!(
        rendition.json["segments"].as_u64() == Some(rendition.segments.len() as u64),
        "the result miscounts segments"
    );
    Ok(())
}

fn target(playlist: &str) -> Option<&str> {
    playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:"))
}

fn master(package: &Package, fixture: &Fixture) -> Check {
    let Ok(Playlist::MasterPlaylist(list)) = parse_playlist_res(package.master.as_bytes()) else {
        return Err("m3u8-rs does not read the master playlist".to_owned());
    };
    check!(list.variants.len() == fixture.renditions, "{} variants", list.variants.len());
    check!(list.session_key.len() == 1, "{} session keys", list.session_key.len());
    check!(list.session_key[0].0.iv.is_none(), "the session key has an IV (spec KEY-018)");
    for rendition in &package.renditions {
        let uri = rendition.json["playlist"].as_str().unwrap_or_default();
        let variant = list.variants.iter().find(|variant| variant.uri == uri).ok_or(format!("{uri} is not in it"))?;
        let bytes: usize = rendition.segments.iter().map(|segment| segment.stored.len()).sum();
        let seconds: f64 = rendition.segments.iter().map(|segment| segment.duration).sum();
        let average = variant.average_bandwidth.ok_or("no AVERAGE-BANDWIDTH")?;
        let wanted = bytes as f64 * 8.0 / seconds;
        check!((average as f64 - wanted).abs() <= 2.0, "AVERAGE-BANDWIDTH {average}, by the files {wanted}");
        check!(variant.bandwidth >= average, "BANDWIDTH {} is below the average", variant.bandwidth);
        let codecs = variant.codecs.as_deref().unwrap_or_default();
        for part in &fixture.codecs {
            check!(codecs.split(',').any(|codec| codec.starts_with(part.as_str())), "CODECS {codecs:?} has no {part}");
        }
        check!(target(&rendition.playlist) == target(&package.renditions[0].playlist), "targets differ");
    }
    Ok(())
}

#[test]
fn m3u8_rs_reads_every_playlist_as_it_was_meant() {
    every(&cases(table::packaged()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        for rendition in &package.renditions {
            media(rendition).map_err(|text| format!("{}: {text}", rendition.name))?;
        }
        master(&package, fixture).map_err(|text| format!("master: {text}"))
    });
}

#[test]
fn independent_segments_is_written_exactly_when_it_is_true() {
    every(&cases(table::packaged()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        for rendition in &package.renditions {
            // A single segment that begins with an IDR is independent whatever comes behind.
            let wanted = !fixture.open || rendition.segments.len() == 1;
            // In the master it speaks for all (RFC 8216 4.3.5.1).
            let written = [&rendition.playlist, &package.master]
                .iter()
                .any(|text| text.contains("#EXT-X-INDEPENDENT-SEGMENTS\n"));
            check!(written == wanted, "{}: INDEPENDENT-SEGMENTS is {written}, not {wanted}", rendition.name);
        }
        Ok(())
    });
}

#[test]
fn discontinuities_are_in_every_playlist() {
    let fixtures = table::packaged().into_iter().map(|fixture| (fixture, 2)).collect::<Vec<_>>();
    every(&fixtures, case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        let wanted = fixture.discontinuities.unwrap_or(0);
        for rendition in &package.renditions {
            let count = rendition.playlist.lines().filter(|line| *line == "#EXT-X-DISCONTINUITY").count();
            // Where the table says nothing and packets are missing, a break may be seen or not.
            let free = fixture.discontinuities.is_none() && fixture.has_holes();
            check!(free || count == wanted, "{}: {count} discontinuities, not {wanted}", rendition.name);
        }
        Ok(())
    });
}

#[test]
fn captions_are_announced_when_there_are_any() {
    let fixtures: Vec<(Fixture, u32)> =
        table::packaged().into_iter().filter(|f| f.captions.is_some()).map(|f| (f, 2)).collect();
    every(&fixtures, case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        let announced = package.master.contains("TYPE=CLOSED-CAPTIONS");
        check!(Some(announced) == fixture.captions, "TYPE=CLOSED-CAPTIONS is {announced}:\n{}", package.master);
        Ok(())
    });
}
