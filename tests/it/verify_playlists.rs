//! Playlists and keys that are broken on purpose: each fault is found under its rule.

use super::verify_mutant::{Base, LOW, Mutation};

const fn m(code: &'static str, base: Base, change: fn(&super::verify_mutant::Mutant)) -> Mutation {
    Mutation { code, base, arguments: &[], change }
}

const fn apple(code: &'static str, base: Base, change: fn(&super::verify_mutant::Mutant)) -> Mutation {
    Mutation { code, base, arguments: &["--profile", "apple"], change }
}

use Base::{Clear, Sealed};

const MEDIA: &str = "#EXT-X-MEDIA:TYPE=";
const FIRST: &str = "#EXTINF:4.000000,\n00000.ts";

/// Every line of any playlist.
pub const LINES: &[Mutation] = &[
    m("playlist-header", Sealed, |p| p.media("#EXTM3U\n", "#EXTM3U8\n")),
    m("playlist-header", Sealed, |p| p.media("#EXTM3U\n", "\n#EXTM3U\n")),
    m("playlist-bom", Sealed, |p| p.media("#EXTM3U\n", "\u{feff}#EXTM3U\n")),
    m("playlist-encoding", Sealed, |p| {
        p.write(&format!("{LOW}/index.m3u8"), b"#EXTM3U\n#\xff\n#EXTINF:4,\n00000.ts\n")
    }),
    m("playlist-control", Sealed, |p| p.line("#EXT-X-ENDLIST", "# bell \u{7}")),
    m("playlist-control", Sealed, |p| p.media("#EXT-X-ENDLIST", "#EXT-X-ENDLIST\r\r")),
    m("playlist-space", Sealed, |p| p.media(",IV=", ", IV=")),
    m("playlist-space", Sealed, |p| p.media("00000.ts", "00000.ts ")),
    m("playlist-name", Sealed, |p| {
        std::fs::rename(p.folder.join("360p/index.m3u8"), p.folder.join("360p/index.txt")).expect("a new name");
        p.master("360p/index.m3u8", "360p/index.txt");
    }),
    m("playlist-mixed", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-STREAM-INF:BANDWIDTH=1")),
    m("playlist-mixed", Sealed, |p| p.master("#EXT-X-SESSION-KEY", "#EXT-X-TARGETDURATION:4\n#EXT-X-SESSION-KEY")),
    m("playlist-empty", Clear, |p| p.write("360p/index.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-ENDLIST\n")),
    m("playlist-empty", Clear, |p| p.write("360p/index.m3u8", "#EXTM3U\n00000.ts\n")),
    m("playlist-size", Clear, |p| p.line("#EXT-X-ENDLIST", &format!("#{}", "x".repeat(70_000)))),
    m("version-syntax", Sealed, |p| p.media("VERSION:3", "VERSION:three")),
    m("version-twice", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-VERSION:3")),
    m("version-low", Sealed, |p| p.media("#EXT-X-VERSION:3\n", "")),
    m("version-low", Clear, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"")),
    m("version-high", Sealed, |p| p.media("VERSION:3", "VERSION:9")),
    m("tag-twice", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-TARGETDURATION:4")),
    m("tag-unknown", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-ENDLISTE")),
    m("tag-removed", Sealed, |p| p.media("#EXT-X-VERSION:3", "#EXT-X-VERSION:7\n#EXT-X-ALLOW-CACHE:YES")),
    m("tag-removed", Sealed, |p| {
        p.master("#EXT-X-VERSION:1", "#EXT-X-VERSION:6");
        p.master("BANDWIDTH=", "PROGRAM-ID=1,BANDWIDTH=");
    }),
    m("tag-value", Sealed, |p| p.media("SEQUENCE:0", "SEQUENCE:one")),
    m("tag-value", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-DATERANGE")),
    m("attribute-name", Sealed, |p| p.media("METHOD=", "Method=")),
    m("attribute-name", Sealed, |p| p.master("METHOD=AES-128,", "METHOD=AES-128,,")),
    m("attribute-twice", Sealed, |p| p.media("METHOD=AES-128", "METHOD=AES-128,METHOD=AES-128")),
    m("attribute-quotes", Sealed, |p| p.media("\",IV", ",IV")),
    m("attribute-kind", Sealed, |p| p.master("BANDWIDTH=", "BANDWIDTH=0x")),
    m("attribute-kind", Sealed, |p| p.master("RESOLUTION=640x360", "RESOLUTION=\"640x360\"")),
    m("attribute-enum", Sealed, |p| p.master("RESOLUTION=", "VIDEO-RANGE=HDR,RESOLUTION=")),
    m("hex-case", Sealed, |p| {
        p.text("360p/index.m3u8", |t| t.replacen("IV=0x", "IV=0xabcdef", 1).replace("\r", ""));
    }),
    m("uri-syntax", Sealed, |p| p.media("00000.ts", "00 000.ts")),
    m("uri-syntax", Sealed, |p| p.media("00000.ts", "http://[::/0.ts")),
    m("independent-twice", Sealed, |p| p.master("#EXT-X-VERSION:1", "#EXT-X-VERSION:1\n#EXT-X-INDEPENDENT-SEGMENTS")),
    m("start-syntax", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-START:PRECISE=YES")),
    m("start-beyond", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-START:TIME-OFFSET=-300.5")),
    m("define-syntax", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-DEFINE:NAME=\"a\",IMPORT=\"b\"")),
    m("variable-undefined", Sealed, |p| p.media("00000.ts", "{$base}00000.ts")),
];

/// Media playlists.
pub const SEGMENTS: &[Mutation] = &[
    m("extinf-missing", Sealed, |p| p.media("#EXTINF:4.000000,\n", "")),
    m("extinf-syntax", Sealed, |p| p.media("#EXTINF:4.000000,", "#EXTINF:4.000000")),
    m("extinf-syntax", Sealed, |p| p.media("#EXTINF:4.000000,", "#EXTINF:4e0,")),
    m("extinf-zero", Sealed, |p| p.media("#EXTINF:4.000000,", "#EXTINF:0,")),
    m("extinf-lost", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXTINF:4,")),
    m("target-missing", Sealed, |p| p.media("#EXT-X-TARGETDURATION:4\n", "")),
    m("target-syntax", Sealed, |p| p.media("TARGETDURATION:4", "TARGETDURATION:4.0")),
    m("target-exceeded", Sealed, |p| p.media("TARGETDURATION:4", "TARGETDURATION:3")),
    m("target-rounded", Sealed, |p| p.media("EXTINF:4.000000", "EXTINF:4.040000")),
    m("sequence-late", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-MEDIA-SEQUENCE:0")),
    m("sequence-large", Sealed, |p| p.everywhere("SEQUENCE:0", "SEQUENCE:2147483648")),
    m("discontinuity-sequence-late", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-DISCONTINUITY-SEQUENCE:0")),
    m("endlist-missing", Sealed, |p| p.media("#EXT-X-ENDLIST\n", "")),
    m("playlist-live", Sealed, |p| {
        p.everywhere("#EXT-X-ENDLIST\n", "");
        p.everywhere("#EXT-X-PLAYLIST-TYPE:VOD\n", "");
    }),
    apple("type-missing", Sealed, |p| p.everywhere("#EXT-X-PLAYLIST-TYPE:VOD\n", "")),
    m("type-syntax", Sealed, |p| p.media("TYPE:VOD", "TYPE:LIVE")),
    m("byterange-syntax", Sealed, |p| p.line(FIRST, "#EXT-X-BYTERANGE:all")),
    m("byterange-offset", Sealed, |p| p.line(FIRST, "#EXT-X-BYTERANGE:1880")),
    m("map-syntax", Sealed, |p| p.line(FIRST, "#EXT-X-MAP:BYTERANGE=\"1@0\"")),
    m("map-iv", Sealed, |p| p.line(FIRST, "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP:URI=\"00000.ts\"")),
    m("map-unreachable", Clear, |p| p.line(FIRST, "#EXT-X-MAP:URI=\"init.ts\"")),
    m("date-syntax", Sealed, |p| p.line(FIRST, "#EXT-X-PROGRAM-DATE-TIME:yesterday")),
    m("date-zone", Sealed, |p| p.line(FIRST, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000")),
    m("date-jump", Clear, |p| {
        p.line(FIRST, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z");
        p.media("\n00001.ts", "\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:09Z\n00001.ts");
    }),
    m("daterange-syntax", Sealed, |p| p.line(FIRST, "#EXT-X-DATERANGE:ID=\"a\"")),
    m("daterange-syntax", Sealed, |p| {
        p.line(
            FIRST,
            "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-02T00:00:00Z\",END-DATE=\"2026-01-01T00:00:00Z\"",
        );
    }),
    m("daterange-date", Sealed, |p| p.line(FIRST, "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-02T00:00:00Z\"")),
    m("bitrate-syntax", Sealed, |p| p.line(FIRST, "#EXT-X-BITRATE:fast")),
    m("bitrate-wrong", Sealed, |p| p.line(FIRST, "#EXT-X-BITRATE:9000")),
    m("segment-gap", Sealed, |p| p.line(FIRST, "#EXT-X-GAP")),
    m("low-latency", Sealed, |p| p.line("#EXT-X-ENDLIST", "#EXT-X-PART-INF:PART-TARGET=1.0")),
    m("iframes", Clear, |p| {
        p.write("i.m3u8", "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:4\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:4,\n#EXT-X-BYTERANGE:1880@376\n360p/00000.ts\n#EXT-X-ENDLIST\n");
        p.master("#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n#EXT-X-STREAM-INF");
    }),
];

/// Multivariant playlists.
pub const VARIANTS: &[Mutation] = &[
    m("variant-uri-missing", Sealed, |p| p.master("360p/index.m3u8\n", "")),
    m("variant-uri-stray", Sealed, |p| p.master("360p/index.m3u8\n", "360p/index.m3u8\n720p/index.m3u8\n")),
    m("bandwidth-missing", Sealed, |p| p.master(":BANDWIDTH", ":X-BANDWIDTH")),
    apple("average-missing", Sealed, |p| p.master(",AVERAGE-BANDWIDTH", ",X-AVERAGE")),
    m("codecs-missing", Sealed, |p| p.master("CODECS=", "X-CODECS=")),
    m("resolution-missing", Sealed, |p| p.master("RESOLUTION=", "X-RESOLUTION=")),
    apple("frame-rate-missing", Sealed, |p| p.master(",FRAME-RATE=", ",X-FRAME-RATE=")),
    m("frame-rate-missing-high", Base::Fast, |p| p.master(",FRAME-RATE=", ",X-FRAME-RATE=")),
    apple("frame-rate-high", Base::Fast, |_| {}),
    m("variant-twice", Sealed, |p| {
        p.text("master.m3u8", |t| {
            let at = t.find("#EXT-X-STREAM-INF").expect("a variant");
            format!("{t}{}", t[at..].lines().take(2).map(|line| format!("{line}\n")).collect::<String>())
        });
    }),
    m("media-incomplete", Sealed, |p| {
        p.master("#EXT-X-SESSION", &format!("{MEDIA}AUDIO,GROUP-ID=\"a\"\n#EXT-X-SESSION"))
    }),
    m("media-name", Sealed, |p| {
        let tag = format!("{MEDIA}AUDIO,GROUP-ID=\"a\",NAME=\"x\"\n");
        p.master("#EXT-X-SESSION", &format!("{tag}{tag}#EXT-X-SESSION"));
    }),
    m("media-default", Sealed, |p| {
        let tag = |name| format!("{MEDIA}AUDIO,GROUP-ID=\"a\",NAME=\"{name}\",DEFAULT=YES\n");
        p.master("#EXT-X-SESSION", &format!("{}{}#EXT-X-SESSION", tag("x"), tag("y")));
    }),
    m("media-default", Sealed, |p| {
        let tag = format!("{MEDIA}AUDIO,GROUP-ID=\"a\",NAME=\"x\",DEFAULT=YES,AUTOSELECT=NO\n");
        p.master("#EXT-X-SESSION", &format!("{tag}#EXT-X-SESSION"));
    }),
    m("media-captions", Sealed, |p| {
        p.master(
            "#EXT-X-SESSION",
            &format!("{MEDIA}CLOSED-CAPTIONS,GROUP-ID=\"c\",NAME=\"x\",INSTREAM-ID=\"CC9\"\n#EXT-X-SESSION"),
        );
    }),
    m("media-forced", Sealed, |p| {
        p.master("#EXT-X-SESSION", &format!("{MEDIA}AUDIO,GROUP-ID=\"c\",NAME=\"x\",FORCED=YES\n#EXT-X-SESSION"));
    }),
    apple("media-language", Sealed, |p| {
        p.master("#EXT-X-SESSION", &format!("{MEDIA}AUDIO,GROUP-ID=\"c\",NAME=\"x\"\n#EXT-X-SESSION"));
    }),
    m("group-missing", Sealed, |p| p.master("RESOLUTION=", "AUDIO=\"none\",RESOLUTION=")),
    m("group-members", Sealed, |p| {
        let tag = |group, name| format!("{MEDIA}AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\"\n");
        p.master("#EXT-X-SESSION", &format!("{}{}#EXT-X-SESSION", tag("a", "x"), tag("b", "y")));
    }),
    m("captions-none", Sealed, |p| p.master(",CLOSED-CAPTIONS=NONE", "")),
    m("session-key-method", Sealed, |p| p.master("SESSION-KEY:METHOD=AES-128", "SESSION-KEY:METHOD=NONE")),
    m("session-key-twice", Sealed, |p| {
        p.text("master.m3u8", |t| {
            let line = t.lines().find(|line| line.contains("SESSION-KEY")).expect("a session key");
            t.replacen(line, &format!("{line}\n{line}"), 1)
        });
    }),
    m("session-key-differs", Sealed, |p| p.master("SESSION-KEY:METHOD=AES-128", "SESSION-KEY:METHOD=SAMPLE-AES")),
    m("session-key-unused", Sealed, |p| p.master("URI=\"/v1/keys/", "URI=\"/v2/keys/")),
    m("session-data", Sealed, |p| p.master("#EXT-X-SESSION", "#EXT-X-SESSION-DATA:DATA-ID=\"a\"\n#EXT-X-SESSION")),
    m("iframe-syntax", Sealed, |p| {
        p.master("#EXT-X-SESSION", "#EXT-X-I-FRAME-STREAM-INF:URI=\"360p/index.m3u8\"\n#EXT-X-SESSION");
    }),
    m("iframe-target", Sealed, |p| {
        p.master("#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n#EXT-X-STREAM-INF");
        p.write("i.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n360p/00000.ts\n#EXT-X-ENDLIST\n");
    }),
    apple("iframe-missing", Sealed, |_| {}),
    m("steering-syntax", Sealed, |p| {
        p.master("#EXT-X-SESSION", "#EXT-X-CONTENT-STEERING:PATHWAY-ID=\"a\"\n#EXT-X-SESSION")
    }),
    apple("variant-cellular", Sealed, |_| {}),
    apple("variants-one", Base::Fast, |_| {}),
    m("playlist-unreachable", Sealed, |p| p.master("360p/index.m3u8", "361p/index.m3u8")),
    m("playlist-nested", Sealed, |p| p.master("360p/index.m3u8", "master.m3u8")),
    m("playlist-nested", Sealed, |p| {
        p.master("360p/index.m3u8", "again.m3u8");
        std::fs::copy(p.folder.join("master.m3u8"), p.folder.join("again.m3u8")).expect("a copy");
    }),
    m("uri-unsafe", Sealed, |p| p.master("360p/index.m3u8", "../../../../../../../etc/passwd")),
    m("uri-unsafe", Sealed, |p| p.media("00000.ts", "file:///etc/passwd")),
    m("uri-unsafe", Sealed, |p| p.media("00000.ts", "http://127.0.0.1:9/x.ts")),
    m("too-many", Clear, |p| {
        let tags = (0..300).map(|n| format!("#EXT-X-STREAM-INF:BANDWIDTH={n}\n{n}.m3u8\n")).collect::<String>();
        p.master("#EXT-X-STREAM-INF", &format!("{tags}#EXT-X-STREAM-INF"));
    }),
];

/// Keys and IVs.
pub const KEYS: &[Mutation] = &[
    m("key-method", Sealed, |p| p.media("METHOD=AES-128", "METHOD=AES-512")),
    m("key-method-unchecked", Sealed, |p| p.media("METHOD=AES-128", "METHOD=SAMPLE-AES")),
    m("key-none-attributes", Sealed, |p| p.media("METHOD=AES-128", "METHOD=NONE")),
    m("key-uri-missing", Sealed, |p| p.media(",URI=", ",X-URI=")),
    m("iv-syntax", Sealed, |p| p.media("IV=0x", "IV=0xFF")),
    m("iv-implicit", Sealed, |p| p.media(",IV=", ",X-IV=")),
    m("iv-forbidden", Sealed, |p| p.media("METHOD=AES-128", "METHOD=AES-256-GCM")),
    m("key-several", Sealed, |p| {
        p.line("#EXTINF", "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\",KEYFORMAT=\"com.apple\"")
    }),
    m("key-unreachable", Sealed, |p| {
        p.everywhere(&key_uri(p), "/v1/keys/00000000-0000-4000-8000-000000000000");
    }),
    m("key-uri-unchecked", Sealed, |_| {}),
    m("key-length", Sealed, |p| {
        p.write("360p/k", "0123456789abcdef0123456789abcdef\n");
        let uri = key_uri(p);
        p.text("360p/index.m3u8", |t| t.replace(&uri, "k"));
    }),
    m("key-insecure", Sealed, |p| p.media("URI=\"/v1", "URI=\"http://127.0.0.1:9/v1")),
    m("key-published", Sealed, |p| {
        p.write("360p/k", [7; 16]);
        p.text("360p/index.m3u8", |t| t.lines().map(|line| if line.contains("#EXT-X-KEY") { "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x00000000000000000000000000000001".to_owned() } else { line.to_owned() } + "\n").collect());
    }),
    m("key-published", Sealed, |p| {
        p.media("URI=\"/v1/keys/", "URI=\"data:text/plain;base64,AAAAAAAAAAAAAAAAAAAAAA==#")
    }),
    m("key-leaked", Sealed, |p| p.write("notes.txt", format!("the key is {}", exported(p)))),
    m("key-leaked", Sealed, |p| p.write("360p/old.key", hex::decode(exported(p)).expect("hex"))),
    m("key-leaked", Sealed, |p| p.segment(2, |bytes| bytes.extend(hex::decode(exported(p)).expect("hex")))),
    m("key-leaked", Sealed, |p| p.line("#EXT-X-ENDLIST", &format!("# {}", exported(p).to_uppercase()))),
    m("iv-reused", Sealed, |p| {
        p.text("360p/index.m3u8", |t| {
            let iv = |line: &str| line.split("IV=").nth(1).map(str::to_owned);
            let ivs: Vec<String> = t.lines().filter_map(iv).collect();
            t.replacen(&ivs[1], &ivs[0], 1)
        });
    }),
    m("cipher-length", Sealed, |p| p.segment(1, |bytes| bytes.truncate(bytes.len() - 5))),
    m("padding", Sealed, |p| p.segment(1, |bytes| bytes.truncate(bytes.len() - 16))),
    m("padding", Sealed, |p| p.segment(1, |bytes| *bytes.last_mut().expect("bytes") ^= 1)),
    m("plaintext-segment", Sealed, |p| {
        let clear = super::verify_mutant::Mutant::of(Clear);
        std::fs::copy(clear.place(1), p.place(1)).expect("a clear segment");
    }),
    m("ciphertext-segment", Sealed, |p| {
        p.text("360p/index.m3u8", |t| {
            t.lines().filter(|line| !line.contains("#EXT-X-KEY")).map(|line| format!("{line}\n")).collect()
        })
    }),
    m("wrong-key", Sealed, |p| {
        let bytes = std::fs::read(p.folder.join("720p/00001.ts")).expect("a segment");
        let mut key = *b"another key here";
        let key = keyrung::crypto::key::ContentKey::from_bytes(&mut key);
        let iv = keyrung::crypto::iv::Iv::from_bytes([3; 16]);
        std::fs::write(p.place(1), keyrung::crypto::cbc::encrypt(&key, iv, &bytes)).expect("a segment");
    }),
    m("wrong-iv", Sealed, |p| {
        p.text("360p/index.m3u8", |t| {
            let iv = t.split("IV=0x").nth(2).and_then(|rest| rest.get(..32)).expect("an IV");
            let other = format!("{}{}", if iv.starts_with('0') { '1' } else { '0' }, &iv[1..]);
            t.replacen(iv, &other, 1)
        })
    }),
    m("wrong-iv", Sealed, |p| {
        p.text("360p/index.m3u8", |t| {
            let iv = t.split("IV=0x").nth(2).and_then(|rest| rest.get(..32)).expect("an IV");
            let other = format!("{}{}", &iv[..31], if iv.ends_with('0') { '1' } else { '0' });
            t.replacen(iv, &other, 1)
        })
    }),
];

/// The key's URI in all playlists.
fn key_uri(p: &super::verify_mutant::Mutant) -> String {
    let text = std::fs::read_to_string(p.folder.join("master.m3u8")).expect("the master");
    text.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a key").to_owned()
}

/// The package's key in hexadecimal.
fn exported(p: &super::verify_mutant::Mutant) -> String {
    let text = std::fs::read_to_string(p.folder.join("master.m3u8")).expect("the master");
    let id = text.split("/v1/keys/").nth(1).and_then(|rest| rest.split('"').next()).expect("a key id");
    p.world.run(&["key", "export", id, "--hex"]).expect(0).expect("the key").text().trim().to_owned()
}
