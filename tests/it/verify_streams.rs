//! Segments, timelines, ladders and records that are broken on purpose.

use std::fs;

use keyrung::ts::{Pat, Pid, Pmt, StreamType, packetize};

use super::verify_mutant::{Base, HIGH, LOW, Mutant, Mutation, payload, pid, shift, starts, unit};

const fn m(code: &'static str, base: Base, change: fn(&Mutant)) -> Mutation {
    Mutation { code, base, arguments: &[], change }
}

const fn apple(code: &'static str, base: Base, change: fn(&Mutant)) -> Mutation {
    Mutation { code, base, arguments: &["--profile", "apple"], change }
}

use Base::{Clear, Recorded, Sealed};

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

/// The PMT of a segment, from its second packet.
fn pmt(packets: &[Vec<u8>]) -> Pmt {
    let body = &packets[1][payload(&packets[1]) + 1..];
    let length = 3 + (usize::from(body[1] & 0x0f) << 8 | usize::from(body[2]));
    Pmt::parse(&body[..length]).expect("a PMT")
}

fn put_pmt(packets: &mut [Vec<u8>], change: fn(&mut Pmt)) {
    let (at, counter) = (Pid::masked(pid(&packets[1])), packets[1][3] & 0x0f);
    let mut table = pmt(packets);
    change(&mut table);
    let mut out = Vec::new();
    assert_eq!(packetize(&table.section(), at, counter, &mut out), 1);
    packets[1] = out;
}

fn drop_where(packets: &mut Vec<Vec<u8>>, gone: impl Fn(&[u8]) -> bool) {
    packets.retain(|packet| !gone(packet));
}

/// One segment.
pub const SEGMENTS: &[Mutation] = &[
    m("segment-unreachable", Clear, |p| fs::remove_file(p.place(2)).expect("a segment")),
    m("segment-empty", Clear, |p| fs::write(p.place(2), []).expect("a segment")),
    m("segment-range", Clear, |p| p.line("#EXTINF", "#EXT-X-BYTERANGE:99999999@0")),
    m("segment-not-ts", Clear, |p| fs::write(p.place(2), "not found").expect("a segment")),
    m("segment-format", Clear, |p| fs::write(p.place(2), b"\0\0\0\x18ftypiso6\0\0\0\0iso6").expect("a segment")),
    m("packet-sync", Clear, |p| p.packets(1, |packets| packets[9][0] = 0x48)),
    m("packet-sync", Clear, |p| p.segment(1, |bytes| drop(bytes.drain(1000..1100)))),
    m("packet-partial", Clear, |p| p.segment(1, |bytes| bytes.truncate(bytes.len() - 100))),
    m("pat-missing", Clear, |p| p.packets(1, |packets| drop_where(packets, |packet| pid(packet) == 0))),
    m("pmt-missing", Clear, |p| p.packets(1, |packets| drop(packets.remove(1)))),
    m("pat-first", Clear, |p| {
        p.packets(1, |packets| packets.insert(0, [&[0x47, 0x1f, 0xff, 0x10][..], &[0xff; 184]].concat()))
    }),
    m("psi-damaged", Clear, |p| p.packets(1, |packets| packets[1][20] ^= 1)),
    m("programs-several", Clear, |p| {
        p.packets(1, |packets| {
            let programs = vec![(1, Pid::masked(pid(&packets[1]))), (2, Pid::masked(0x777))];
            let pat = Pat { transport_stream_id: 1, version: 0, section: 0, last_section: 0, programs };
            let mut out = Vec::new();
            packetize(&pat.section(), Pid::PAT, packets[0][3] & 0x0f, &mut out);
            packets[0] = out;
        })
    }),
    m("continuity", Clear, |p| p.packets(1, |packets| drop(packets.remove(30)))),
    m("transport-error", Clear, |p| p.packets(1, |packets| packets[30][1] |= 0x80)),
    m("packet-scrambled", Clear, |p| p.packets(1, |packets| packets[30][3] |= 0x80)),
    m("pid-unannounced", Clear, |p| {
        p.packets(1, |packets| packets.push([&[0x47, 0x07, 0x77, 0x10][..], &[0; 184]].concat()))
    }),
    m("stream-silent", Clear, |p| p.packets(1, |packets| drop_where(packets, |packet| pid(packet) == AUDIO))),
    m("pes-no-pts", Clear, |p| {
        p.packets(1, |packets| {
            let at = unit(packets, AUDIO, 0);
            let from = payload(&packets[at]);
            packets[at][from + 7] &= 0x3f;
        })
    }),
    m("pes-syntax", Clear, |p| {
        p.packets(1, |packets| {
            let at = unit(packets, VIDEO, 5);
            let from = payload(&packets[at]);
            packets[at][from + 2] = 7;
        })
    }),
    m("pes-length", Clear, |p| {
        p.packets(1, |packets| {
            let at = unit(packets, AUDIO, 1);
            let from = payload(&packets[at]);
            packets[at][from + 5] ^= 1;
        })
    }),
    m("dts-order", Clear, |p| {
        p.packets(1, |packets| {
            let at = unit(packets, VIDEO, 8);
            shift(&mut packets[at], -90_000);
        })
    }),
    m("pts-before-dts", Clear, |p| {
        p.packets(1, |packets| {
            let with_both =
                |packet: &Vec<u8>| pid(packet) == VIDEO && starts(packet) && packet[payload(packet) + 7] & 0xc0 == 0xc0;
            let at = packets.iter().position(with_both).expect("PTS and DTS");
            let from = payload(&packets[at]) + 9;
            // The PTS is now what it was a second before the DTS.
            let mut early = packets[at].clone();
            shift(&mut early, -90_000);
            let dts: Vec<u8> = early[from + 5..from + 10].to_vec();
            packets[at][from..from + 5].copy_from_slice(&dts);
        })
    }),
    m("pcr-missing", Clear, |p| {
        p.packets(1, |packets| {
            for packet in packets.iter_mut().filter(|packet| packet[3] & 0x20 != 0 && packet[4] > 0) {
                packet[5] &= 0xef;
            }
        })
    }),
    m("segment-no-media", Clear, |p| {
        p.packets(1, |packets| drop_where(packets, |packet| matches!(pid(packet), VIDEO | AUDIO)))
    }),
    m("key-frame-start", Clear, |p| p.packets(1, without_key_frame)),
    m("independent-untrue", Clear, |p| p.packets(1, without_key_frame)),
    m("parameter-sets", Clear, |p| {
        p.packets(1, |packets| {
            let at = unit(packets, VIDEO, 0);
            let sps = packets[at]
                .windows(4)
                .position(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 0x1f == 7)
                .expect("an SPS");
            packets[at][sps + 3] = 0x6c;
        })
    }),
    m("codec-unsupported", Base::Fixture("hevc-aac"), |_| {}),
    m("stream-type-wrong", Clear, |p| {
        p.packets(1, |packets| put_pmt(packets, |pmt| pmt.streams[1].stream_type = StreamType(0x03)))
    }),
    apple("video-interlaced", Base::Fixture("interlaced"), |_| {}),
    m("audio-several", Clear, |p| {
        p.packets(1, |packets| {
            put_pmt(packets, |pmt| {
                let mut second = pmt.streams[1].clone();
                second.pid = Pid::masked(0x102);
                pmt.streams.push(second);
            });
            let copies: Vec<Vec<u8>> = packets.iter().filter(|packet| pid(packet) == AUDIO).cloned().collect();
            packets.extend(copies.into_iter().map(|mut packet| {
                packet[2] = 0x02;
                packet
            }));
        })
    }),
    m("packed-audio-stamp", Clear, |p| {
        fs::write(p.place(1), [0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc, 0]).expect("a segment")
    }),
    m("webvtt-header", Clear, |p| subtitles(p, "1\n00:00.000 --> 00:01.000\nHello there\n")),
    m("webvtt-map", Clear, |p| subtitles(p, "WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n")),
];

fn without_key_frame(packets: &mut Vec<Vec<u8>>) {
    let (from, to) = (unit(packets, VIDEO, 0), unit(packets, VIDEO, 1));
    let kept = packets.iter().enumerate().filter(|(n, packet)| !(from..to).contains(n) || pid(packet) != VIDEO);
    *packets = kept.map(|(_, packet)| packet.clone()).collect();
}

fn subtitles(p: &Mutant, text: &str) {
    p.write("s.vtt", text);
    p.write("s.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:24\n#EXTINF:24,\ns.vtt\n#EXT-X-ENDLIST\n");
    let tag = "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"x\",URI=\"s.m3u8\"\n";
    p.master("#EXT-X-STREAM-INF", &format!("{tag}#EXT-X-STREAM-INF"));
}

/// Segments after one another.
pub const TIMELINES: &[Mutation] = &[
    m("continuity-cut", Clear, |p| p.packets(1, |packets| drop(packets.pop()))),
    m("timestamp-gap", Clear, |p| p.without("360p/index.m3u8", "00002.ts")),
    m("timestamp-overlap", Clear, |p| p.media("00002.ts", "00001.ts")),
    m("discontinuity-needless", Clear, |p| {
        p.everywhere("#EXTINF:4.000000,\n00002.ts", "#EXT-X-DISCONTINUITY\n#EXTINF:4.000000,\n00002.ts")
    }),
    m("parameters-change", Clear, |p| {
        fs::copy(p.folder.join("720p/00002.ts"), p.place(2)).expect("a copy");
    }),
    m("streams-change", Clear, |p| p.packets(2, |packets| put_pmt(packets, |pmt| drop(pmt.streams.pop())))),
    m("extinf-wrong", Clear, |p| p.media("EXTINF:4.000000", "EXTINF:3.500000")),
    m("extinf-inexact", Clear, |p| p.media("EXTINF:4.000000", "EXTINF:3.950000")),
    m("extinf-drift", Clear, |p| p.text("360p/index.m3u8", |t| t.replace("EXTINF:4.000000", "EXTINF:3.950000"))),
    m("audio-gap", Clear, |p| {
        p.packets(1, |packets| {
            // The last two PES packets of audio go.
            let units: Vec<usize> =
                (0..packets.len()).filter(|n| pid(&packets[*n]) == AUDIO && starts(&packets[*n])).collect();
            let from = units[units.len() - 2];
            let kept = packets.iter().enumerate().filter(|(n, packet)| *n < from || pid(packet) != AUDIO);
            *packets = kept.map(|(_, packet)| packet.clone()).collect();
        })
    }),
    m("audio-overlap", Clear, |p| p.packets(1, |packets| shift_all(packets, AUDIO, -18_000))),
    m("audio-apart", Clear, |p| p.packets(1, |packets| shift_all(packets, AUDIO, 200_000))),
    m("target-untrue", Clear, |p| {
        p.text("360p/index.m3u8", |t| {
            t.replace("EXTINF:4.000000", "EXTINF:2.000000").replace("DURATION:4", "DURATION:2")
        })
    }),
];

fn shift_all(packets: &mut [Vec<u8>], wanted: u16, ticks: i64) {
    for packet in packets.iter_mut().filter(|packet| pid(packet) == wanted && starts(packet)) {
        shift(packet, ticks);
    }
}

/// Renditions against each other, and what is declared.
pub const LADDERS: &[Mutation] = &[
    m("target-differs", Clear, |p| p.media("TARGETDURATION:4", "TARGETDURATION:5")),
    m("type-differs", Clear, |p| p.media("TYPE:VOD", "TYPE:EVENT")),
    m("start-differs", Clear, |p| p.without("360p/index.m3u8", "00000.ts")),
    m("length-differs", Clear, |p| {
        p.without("360p/index.m3u8", "00005.ts");
        p.without("360p/index.m3u8", "00004.ts");
    }),
    m("misaligned", Clear, |p| {
        let second = fs::read(p.place(1)).expect("a segment");
        p.segment(0, |bytes| bytes.extend(&second));
        p.without("360p/index.m3u8", "00001.ts");
        p.text("360p/index.m3u8", |t| t.replacen("EXTINF:4.000000", "EXTINF:8.000000", 1));
    }),
    m("sequence-differs", Clear, |p| p.media("SEQUENCE:0", "SEQUENCE:5")),
    m("discontinuity-differs", Clear, |p| p.media("\n00002.ts", "\n#EXT-X-DISCONTINUITY\n00002.ts")),
    m("date-some", Clear, |p| p.line("#EXTINF", "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z")),
    m("bandwidth-low", Clear, |p| number(p, ":BANDWIDTH=", 0.85)),
    m("bandwidth-high", Clear, |p| number(p, ":BANDWIDTH=", 1.2)),
    m("average-wrong", Clear, |p| number(p, "AVERAGE-BANDWIDTH=", 1.2)),
    apple("peak-ratio", Clear, |p| {
        // A burst of private packets in one segment.
        p.packets(1, |packets| {
            let filler = [&[0x47, 0x07, 0x77, 0x10][..], &[0; 184]].concat();
            packets.extend(std::iter::repeat_n(filler, packets.len() * 12));
        });
    }),
    m("codecs-wrong", Clear, |p| p.master("avc1.4d401e", "avc1.42001e")),
    m("codecs-wrong", Clear, |p| p.master(",mp4a.40.2", "")),
    m("codecs-surplus", Clear, |p| p.master("mp4a.40.2", "mp4a.40.2,ac-3")),
    m("codecs-inexact", Clear, |p| p.master("avc1.4d401e", "avc1.4d001e")),
    m("resolution-wrong", Clear, |p| p.master("640x360", "640x480")),
    m("frame-rate-wrong", Clear, |p| p.master("FRAME-RATE=25.000", "FRAME-RATE=30.000")),
    m("video-range", Clear, |p| p.master("RESOLUTION=", "VIDEO-RANGE=PQ,RESOLUTION=")),
    m("captions-absent", Clear, |p| {
        p.text("master.m3u8", |t| t.replace("CLOSED-CAPTIONS=NONE", "CLOSED-CAPTIONS=\"cc\""));
        let tag = "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"x\",INSTREAM-ID=\"CC1\"\n";
        p.master("#EXT-X-STREAM-INF", &format!("{tag}#EXT-X-STREAM-INF"));
    }),
    m("captions-undeclared", Base::Fixture("captions"), |p| {
        p.text("master.m3u8", |t| {
            let kept: Vec<&str> = t.lines().filter(|line| !line.contains("TYPE=CLOSED-CAPTIONS")).collect();
            let at = t.find("CLOSED-CAPTIONS=\"").expect("captions");
            let value = t[at..].split([',', '\n']).next().expect("a value");
            kept.join("\n").replace(value, "CLOSED-CAPTIONS=NONE") + "\n"
        });
    }),
    Mutation { code: "sampled", base: Clear, arguments: &["--sample", "1/3"], change: |_| {} },
];

/// Multiplies the number after `name` in the first variant.
fn number(p: &Mutant, name: &str, factor: f64) {
    p.text("master.m3u8", |t| {
        let (before, after) = t.split_once(name).expect("the attribute");
        let digits = after.split(|c: char| !c.is_ascii_digit()).next().expect("a number");
        let scaled = digits.parse::<f64>().expect("a number") * factor;
        format!("{before}{name}{scaled:.0}{}", &after[digits.len()..])
    });
}

/// The commit record.
pub const RECORDS: &[Mutation] = &[
    m("record-unreadable", Recorded, |p| p.text("keyrung.json", |t| t.replacen("{", "[", 1))),
    m("record-unreadable", Recorded, |p| p.text("keyrung.json", |t| t.replacen("\"version\": 1", "\"version\": 2", 1))),
    m("record-file-missing", Recorded, |p| fs::remove_file(p.folder.join(HIGH).join("00003.ts")).expect("a segment")),
    m("record-size", Recorded, |p| p.segment(3, |bytes| bytes.truncate(bytes.len() - 16))),
    m("record-digest", Recorded, |p| p.segment(3, |bytes| bytes[5000] ^= 1)),
    m("record-digest", Recorded, |p| p.text("master.m3u8", |t| t.replacen("25.000", "24.000", 1))),
    m("record-seal", Recorded, |p| {
        p.text("keyrung.json", |t| t.replacen("\"content_id\": \"", "\"content_id\": \"x", 1))
    }),
    m("record-seal", Recorded, |p| {
        p.text("keyrung.json", |t| {
            let at = t.find(",\n  \"seal\"").expect("a seal");
            format!("{}\n}}\n", &t[..at])
        })
    }),
    m("record-seal-unchecked", Recorded, |p| {
        fs::rename(p.world.folder.join("home/keys"), p.world.folder.join("home/gone")).expect("the key store goes");
    }),
    m("record-surplus", Recorded, |p| p.write("extra.txt", "x")),
    m("record-differs", Recorded, |p| p.media("EXTINF:4.000000", "EXTINF:4.001000")),
    m("record-differs", Recorded, |p| p.master("AVERAGE-BANDWIDTH=1", "AVERAGE-BANDWIDTH=2")),
    m("record-differs", Recorded, |p| p.without(&format!("{LOW}/index.m3u8"), "00005.ts")),
    Mutation { code: "sampled", base: Sealed, arguments: &["--sample", "2/2"], change: |_| {} },
];
