//! Every limit on what input may ask for, its default and why.

// --- playlist ---

/// Bytes of a playlist that is read: 64 MiB holds a week of six-second segments, each with its own key tag and long URIs.
pub const PLAYLIST_BYTES: usize = 64 << 20;

/// Lines of a playlist that is read; three to four make a segment.
pub const PLAYLIST_LINES: usize = 1_000_000;

/// Bytes of one line of a playlist that is read, without its end. Room for a tag with several of the longest values.
pub const PLAYLIST_LINE_BYTES: usize = 64 << 10;

/// Attributes of one tag; the standard's longest list has under thirty.
pub const PLAYLIST_ATTRIBUTES: usize = 256;

/// Bytes of one value that is written (a URI, a name): what common servers and players take as a URI.
pub const PLAYLIST_VALUE_BYTES: usize = 8 << 10;
// --- es ---

/// Longest sequence parameter set that is read, in bytes. Real ones have 20 to 100; HEVC's with all its tables about 2 KiB.
pub const SPS_BYTES: usize = 4096;

/// Largest width or height of a picture, in luma samples. The widest that H.264 and HEVC levels allow is 16,888.
pub const PICTURE_SIDE: u32 = 32_768;

/// Largest frame rate that is believed, per second (HEVC A.4.2 allows 300). Streams of variable frame rate state the
/// rate of their clock instead.
pub const FRAME_RATE: u32 = 300;
// --- server ---

/// The largest `keyrung.json` that is read, in bytes: about 300,000 segments with their checksums.
pub const SERVER_MAX_RECORD_BYTES: u64 = 64 << 20;
/// Connections open at once; more wait in the system's accept queue. Each takes some 40 KiB.
pub const SERVER_MAX_CONNECTIONS: usize = 4096;
/// How long a client may take to send a request's head, and how long an idle connection is kept: longer than the
/// usual segment, so that a player fetches segment after segment on one connection.
pub const SERVER_HEADER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// Header fields in one request; more are answered 431.
pub const SERVER_MAX_HEADERS: usize = 64;
/// Bytes in a request's head, request line included; more are answered 431.
pub const SERVER_MAX_HEAD_BYTES: usize = 16 << 10;
/// Bytes of a file in memory for each answer, and as many again where it is read.
pub const SERVER_CHUNK_BYTES: usize = 64 << 10;
/// How long requests in flight may go on after the server was told to stop.
pub const SERVER_DRAIN: std::time::Duration = std::time::Duration::from_secs(5);
/// How long it goes on after `/readyz` has begun to say 503: load balancers look every second or two.
pub const SERVER_DRAIN_DELAY: std::time::Duration = std::time::Duration::from_secs(5);
/// Connections of one client address: many viewers may stand behind one.
pub const SERVER_CLIENT_CONNECTIONS: usize = 256;
/// How long a connection may pass without a request or a byte taken. HTTP/1.1 is bound by the header timeout already.
pub const SERVER_IDLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a request may take until it is answered: players give up after 8 to 10 s (PLY-001).
pub const SERVER_REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Bytes in a request's path and query: a token with a few claims has under 2,000.
pub const SERVER_MAX_URI_BYTES: usize = 8 << 10;
/// HTTP/2 streams of one connection at once: a CDN's edge asks for several viewers.
pub const SERVER_STREAMS: u32 = 64;
/// Requests for keys a second of one address. Players that do not keep keys ask once a segment (PLY-003).
pub const SERVER_CLIENT_RATE: u32 = 100;
/// As many may come at once: an office of viewers that begin together.
pub const SERVER_CLIENT_BURST: u32 = 1000;
/// Requests for keys a second of one viewer.
pub const SERVER_SUBJECT_RATE: u32 = 10;
/// As many may come at once: a player that looks through its renditions, and is started anew.
pub const SERVER_SUBJECT_BURST: u32 = 100;
/// How often rates of those who have not asked for long are forgotten. At 100,000 new addresses a second, 100 MB.
pub const SERVER_RATE_SWEEP: std::time::Duration = std::time::Duration::from_secs(10);
/// How long a player may keep a key: long enough that those who ask with every segment find it in their own cache.
pub const SERVER_KEY_MAX_AGE: std::time::Duration = std::time::Duration::from_secs(300);
/// When to come again after what passes.
pub const SERVER_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(2);
/// Audit lines on their way: some 3 MB, and a tenth of a second at 100,000 a second.
pub const SERVER_AUDIT_QUEUE: usize = 16 << 10;
/// How long the writer of audit lines rests between two writes.
pub const SERVER_AUDIT_PAUSE: std::time::Duration = std::time::Duration::from_millis(1);
/// How soon a line that could not be written is tried again.
pub const SERVER_AUDIT_RETRY: std::time::Duration = std::time::Duration::from_millis(200);
/// The largest file of certificates or keys that is read, in bytes: a system's whole bundle of roots has 220 KiB.
pub const SERVER_MAX_PEM_BYTES: u64 = 1 << 20;
/// The largest configuration file that is read, in bytes.
pub const SERVER_MAX_CONFIG_BYTES: u64 = 1 << 20;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
pub const SERVER_H2_KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(20);
/// Streams that an HTTP/2 client has reset before they were looked at; with more the connection ends (CVE-2023-44487).
pub const SERVER_H2_PENDING_RESETS: usize = 20;
/// Streams that were reset for a client's errors; with more the connection ends.
pub const SERVER_H2_LOCAL_RESETS: usize = 128;
/// How long a connection that was asked to end may still take.
pub const SERVER_LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);
/// Connections to `/metrics` at once.
pub const SERVER_METRICS_CONNECTIONS: usize = 16;
/// How long one of them may live.
pub const SERVER_METRICS_LIFE: std::time::Duration = std::time::Duration::from_secs(60);
/// Bytes of a token, a signed URL's parameter or its cookie. Identity providers' tokens have 1 to 4 KiB; the request's head bounds
/// it too.
pub const TOKEN_BYTES: usize = 8 << 10;
/// The least bytes of a secret for HMAC-SHA256: its output's (RFC 7518 section 3.2).
pub const TOKEN_SECRET_BYTES: usize = 32;
/// The largest file of a secret, a key or a certificate authority that is read, in bytes.
pub const TOKEN_FILE_BYTES: u64 = 256 << 10;
/// Bits of an RSA key for tokens: what RFC 7518 section 3.3 asks for at least, and what is verified in well under a millisecond.
pub const TOKEN_RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Bytes of a token's key id; thumbprints have 43.
pub const TOKEN_KID_BYTES: usize = 256;
/// Content ids, or key ids, of one token.
pub const TOKEN_IDS: usize = 256;
/// Seconds that the clocks of issuer and server may differ by.
pub const TOKEN_LEEWAY: u64 = 30;
/// The last second that a token may name: the end of the year 9999, where RFC 3339 ends.
pub const TOKEN_LAST_SECOND: u64 = 253_402_300_799;
/// Verified tokens that are remembered, some 500 bytes each. Viewers beyond it cost one signature for each key.
pub const TOKEN_CACHE: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(16_383);
/// Bytes of a JSON Web Key Set; those of large identity providers have 2 to 20 KiB.
pub const JWKS_BYTES: usize = 256 << 10;
/// Keys of a key set.
pub const JWKS_KEYS: usize = 64;
/// How long a key set's server may take.
pub const JWKS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// The least time between two readings of a key set: anyone can make up tokens of unknown keys.
pub const JWKS_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);
/// The longest that a forward authoriser may be waited for: players give up after some seconds (PLY-001).
pub const FORWARD_LONGEST: std::time::Duration = std::time::Duration::from_secs(30);
/// The most questions to a forward authoriser under way at once.
pub const FORWARD_CONCURRENCY: usize = 4096;
/// Answers of a forward authoriser that are remembered, under 100 bytes each.
pub const FORWARD_CACHE: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(65_535);
/// Bytes of a forward authoriser's answer that are read so that its connection can be used again.
pub const FORWARD_BODY: usize = 16 << 10;
/// The least time between two lines that tell of trouble with it: every viewer has the same.
pub const FORWARD_TOLD: std::time::Duration = std::time::Duration::from_secs(30);
/// How long a key or its record is given without asking again: for so long a key that was taken away may still be given.
pub const VAULT_LIFE: std::time::Duration = std::time::Duration::from_secs(300);
/// How long it is remembered that a key is not there or was refused: short, so that a key is there as soon as it was made.
pub const VAULT_NEGATIVE_LIFE: std::time::Duration = std::time::Duration::from_secs(2);
/// How much longer keys are given when store or provider fails: longer than most disturbances of KMS and S3, and as long as
/// viewers keep the key themselves.
pub const VAULT_STALE_FOR: std::time::Duration = std::time::Duration::from_secs(600);
/// How long a viewer waits for the key store, and then for the provider: players give up after 5 to 10 s.
pub const VAULT_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
/// Keys kept open, and records: about 600 bytes for both.
pub const VAULT_CAPACITY: usize = 100_000;
/// Ids remembered of which there is no key, or none that opens: about 100 bytes each, whatever viewers make up.
pub const VAULT_STRANGERS: usize = 10_000;
/// Calls to the key store at once, and to providers: at 20 ms each, 1,600 a second.
pub const VAULT_CALLS: usize = 32;
/// Viewers who wait for calls, and calls that wait for their turn. A thousand wait for one call as well as one.
pub const VAULT_WAITING: usize = 4096;
/// How long a call is given to end before the next viewer may ask anew: longer than a call to AWS with all its attempts.
pub const VAULT_LONGEST_CALL: std::time::Duration = std::time::Duration::from_secs(15);
/// How long a key that failed is left alone at first; twice as long each time.
pub const VAULT_FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(250);
/// How long it is left alone at most, while viewers ask for it.
pub const VAULT_LONGEST_BACKOFF: std::time::Duration = std::time::Duration::from_secs(4);
/// How long it is left alone at most when whoever failed has named a time.
pub const VAULT_LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);
/// When viewers are told to come again who were too many.
pub const VAULT_BUSY_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// How long the server says that it is not ready after it has turned viewers away.
pub const VAULT_TROUBLE_SHOWN: std::time::Duration = std::time::Duration::from_secs(10);
/// How often keys that nobody asks for any more are looked for, to be wiped.
pub const VAULT_SWEEP: std::time::Duration = std::time::Duration::from_secs(10);
/// How many of them are wiped in one go.
pub const VAULT_SWEPT_AT_ONCE: usize = 1000;
/// A refusal is answered after this at the soonest: longer than a look into a folder takes.
pub const VAULT_REFUSAL: std::time::Duration = std::time::Duration::from_millis(3);
/// Bytes of a playlist from which on it is sent in gzip: less fits in one packet anyway.
pub const SERVER_GZIP_LEAST_BYTES: u64 = 1200;
/// Files and playlists that are being answered at once, however many streams ask: each has a descriptor and two chunks of
/// memory while its client takes nothing. Keys, which are not counted here, need descriptors and threads too.
pub const SERVER_OPEN_FILES: usize = 1024;
/// How often the log says, at most, that a file cannot be given.
pub const SERVER_FILE_NOTICE: std::time::Duration = std::time::Duration::from_secs(1);
/// How long it holds what `/readyz` saw of the packages: anyone may ask.
pub const SERVER_READY_LIFE: std::time::Duration = std::time::Duration::from_secs(1);
/// How long a look at them may take: a thousand packages on a volume that is not warm.
pub const SERVER_READY_WAIT: std::time::Duration = std::time::Duration::from_secs(3);
// --- ts ---

/// How many bytes of the input are searched for the first packet before it is refused as not MPEG-TS. Captures may
/// begin with the rest of a cut packet or a short file header; a megabyte is far more than either.
pub const SYNC_SEARCH: u64 = 1 << 20;

/// The longest PAT, CAT, PMT or description section in bytes, with its 3-byte header: the standard's own limit
/// (ISO/IEC 13818-1 2.4.4.4 to 2.4.4.9, section_length at most 1,021).
pub const PSI_SECTION: usize = 1024;

/// The longest section of any other table in bytes, with its 3-byte header (ISO/IEC 13818-1 2.4.4.11).
pub const PRIVATE_SECTION: usize = 4096;

/// Programs of one PAT that are followed. Broadcast multiplexes carry a few dozen; each program costs memory for its
/// PMT, so a PAT of 256 full sections must not decide how much.
pub const PROGRAMS: usize = 256;
use crate::time::Span;

// --- ladder and segment ---

/// A decoding clock that moves forward by more than this has jumped (ffmpeg's `dts_delta_threshold` is the same).
pub const JUMP_FORWARD: Span = Span::from_ticks(10 * 90_000);
/// A decoding clock that moves back by more than this has jumped. Less is the disorder of muxers that leave out DTS.
pub const JUMP_BACK: Span = Span::from_ticks(45_000);
/// How far a stream may lag behind the main stream, in its time, before cuts stop waiting for it.
pub const STREAM_SKEW: Span = Span::from_ticks(10 * 90_000);
/// Bytes of a PES packet's start that are kept while its first slice is looked for. Parameter sets and SEI are small.
pub const PES_HEAD: usize = 64 * 1024;
/// Bytes of an input that are read to learn what it holds.
pub const PROBE_BYTES: usize = 16 * 1024 * 1024;
/// Time of an input's main stream that is read to learn what it holds.
pub const PROBE_TIME: Span = Span::from_ticks(10 * 90_000);
/// Renditions whose key frames differ by no more than this lie on one clock (B frames shift whole files by less).
pub const SHIFT_NEAR: Span = Span::from_ticks(45_000);
/// Renditions of one ladder.
pub const RENDITIONS: usize = 64;
/// PES packets, key frames and sync losses of a rendition that are held while it is open where they will be cut. Hours of
/// real streams stay far below; a stream that shows no key frame must not fill the memory.
pub const HELD_MARKS: usize = 2_000_000;
/// Key-frame times that a report carries for one program.
pub const REPORTED_KEYS: usize = 200_000;
/// Places of a fault that a report names; more are only counted.
pub const FAULT_PLACES: usize = 8;
/// Bytes of standard input held while it is open which segment they belong to: more than ten seconds of 100 Mbit/s, by
/// which programs and streams may lie apart.
pub const PIPE_WINDOW: usize = 256 * 1024 * 1024;
// --- storage ---

/// The largest sealed key or claim that is read, in bytes. One of 6 KiB ciphertext (KMS-002) and 8 KiB context takes a quarter of it.
pub const MAX_DOCUMENT_BYTES: u64 = 64 * 1024;

/// The largest commit record that is read when a package is about to be replaced, in bytes: half a million segments.
pub const MAX_COMMIT_RECORD_BYTES: u64 = 128 * 1024 * 1024;

// --- keys ---

/// The largest encryption context, in bytes of its canonical form: what AWS KMS takes at most (spec KMS-008).
pub const MAX_CONTEXT_BYTES: usize = 8192;

/// The largest keyring file that is read, in bytes.
pub const MAX_KEYRING_BYTES: u64 = 64 * 1024;

// --- aws ---

/// How long a connection to an AWS service may take to be made.
pub const AWS_CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// How long one attempt of a call may take: KMS answers in milliseconds; a credential process that asks elsewhere is not counted.
pub const AWS_ATTEMPT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// How long a call may take with all its attempts and the waits between them.
pub const AWS_CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// Attempts of a call; the waits between them (exponential, with jitter) are about 15 s in all, room for a burst of throttling.
pub const AWS_ATTEMPTS: u32 = 5;

/// Attempts of a call that a viewer waits for.
pub const AWS_VIEWER_ATTEMPTS: u32 = 2;
/// How long one of these attempts may take; KMS and S3 answer in tens of milliseconds.
pub const AWS_VIEWER_ATTEMPT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// How long such a call may take with all its attempts.
pub const AWS_VIEWER_CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

// --- kms ---

/// The largest ciphertext that AWS KMS gives or takes, in bytes (spec KMS-002).
pub const KMS_CIPHERTEXT_BYTES: usize = 6144;
/// Grant tokens of one call (spec KMS-012).
pub const KMS_GRANT_TOKENS: usize = 10;

// --- whole files ---

/// Bytes that AES-GCM encrypts under one IV: 2^39 - 256 bits (SP 800-38D 5.2.1.1), after which its counter comes round.
pub const GCM_BYTES: u64 = (1 << 36) - 32;

/// The largest job of Elastic Transcoder that is read, in bytes. One of 30 outputs with captions and watermarks has under 100 KiB.
pub const MAX_JOB_BYTES: u64 = 1 << 20;
// --- s3 ---

/// How long one request to an object store may take: a segment of 64 MiB over 5 Mbit/s.
pub const S3_REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);
/// Attempts of a request, `AWS_MAX_ATTEMPTS` overrules. S3 asks for patience for seconds while it splits a busy prefix.
pub const S3_ATTEMPTS: u32 = 8;
/// How long a request may go on being tried again. Credentials are fresh for five minutes when it begins.
pub const S3_RETRY_TIME: std::time::Duration = std::time::Duration::from_secs(180);
/// The longest wait between two tries.
pub const S3_LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// Uploads under way at once. One stream to S3 carries some 90 MB/s: this many fill 10 Gbit/s several times over.
pub const S3_CONNECTIONS: usize = 32;
/// Bytes of one ranged read of an input: large enough that a request's latency does not count, and a fraction of a segment.
pub const S3_BLOCK_BYTES: u64 = 2 << 20;
/// Blocks that are read ahead of the scan: 16 MiB under way fill 1 Gbit/s over 100 ms of latency.
pub const S3_READ_AHEAD: u64 = 8;
/// A segment that is larger is stored in parts.
pub const S3_SINGLE_PUT_BYTES: u64 = 64 << 20;
/// Bytes of a part; 10,000 of them make 156 GiB (spec S3-009).
pub const S3_PART_BYTES: usize = 16 << 20;
/// Parts of one segment under way at once.
pub const S3_PARTS: usize = 4;
/// What `--memory` is by default: bytes of open segments and of what they are made from.
pub const S3_MEMORY: u64 = 256 << 20;
/// The least that `--memory` may be: a few segments and blocks.
pub const S3_LEAST_MEMORY: u64 = 16 << 20;
// --- verify ---

/// Bytes of objects in S3 that are held while several are read at once: a few blocks for each.
pub const VERIFY_OBJECT_BYTES: u64 = 64 << 20;
/// Places of one resource at which a broken rule is told; more are only counted.
pub const VERIFY_FINDINGS_PER_RULE: usize = 8;
/// Pairs of rule and resource that are told apart. A person reads far fewer.
pub const VERIFY_FINDINGS: usize = 2_000;
/// Characters of a text from the target that a finding repeats.
pub const VERIFY_TEXT: usize = 400;
/// Playlists of one target: Apple's largest example ladders have under 50.
pub const VERIFY_PLAYLISTS: usize = 256;
/// Bytes of all playlists of one target, which are held for checksums and the search for keys.
pub const VERIFY_PLAYLIST_BYTES: usize = 256 << 20;
/// Segments of a run whose bit rate is measured: one and a half target durations of the shortest that are made.
pub const VERIFY_RUN: usize = 512;
/// Segments of one target: two weeks of six seconds in one rendition, or a film in fifty.
pub const VERIFY_SEGMENTS: usize = 200_000;
/// Key URIs of one target: one for each hour of a month's recording, or a key for each of many periods.
pub const VERIFY_KEYS: usize = 1_000;
/// Bytes of one segment or byte range that are read: an hour of 8 Mbit/s in one piece.
pub const VERIFY_SEGMENT_BYTES: u64 = 4 << 30;
/// Bytes of a segment in memory while it is read, decrypted and looked at; small enough to stay in a core's cache.
pub const VERIFY_CHUNK: usize = 256 << 10;
/// Redirects that are followed (Apple forbids them for media altogether: A8.18).
pub const VERIFY_REDIRECTS: usize = 3;
/// Requests that may time out before the server is given up: it would take days to time out on every segment.
pub const VERIFY_TIMEOUTS: usize = 6;
/// How long a target on the network may take in all.
pub const VERIFY_TOTAL_TIME: std::time::Duration = std::time::Duration::from_secs(4 * 3600);
/// Access units of a segment whose time stamps are kept: a minute at the highest rate that is believed.
pub const VERIFY_UNITS: usize = 20_000;
/// Bytes of an elementary stream's first PES packets that are kept to learn its parameters.
pub const VERIFY_HEAD: usize = 64 << 10;
/// Bytes of a published file that is searched for keys; segments are looked through in any case.
pub const VERIFY_LEAK_BYTES: u64 = 16 << 20;
/// Files of a folder that are searched for keys and counted against the record.
pub const VERIFY_FILES: usize = 400_000;
// --- batch ---

/// Bytes of one line of a jobs file in JSON Lines. A title with a hundred inputs and long names has about 20 KiB.
pub const BATCH_LINE_BYTES: u64 = 256 << 10;
/// Bytes of a jobs file in TOML, which is read whole: about 200,000 titles. JSON Lines are read one by one.
pub const BATCH_TOML_BYTES: u64 = 64 << 20;
/// Problems of a jobs file that are told; whoever has more has made one mistake many times.
pub const BATCH_PROBLEMS: usize = 100;
