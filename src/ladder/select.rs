//! What each stream of a program is, and which of them a rendition carries.

use crate::es::{Codec, Sniffed};
use crate::ts::descriptor::{Descriptor, Descriptors, tag};
use crate::ts::{Pid, Pmt, PmtStream};

use super::error::LadderError;

/// What a stream holds, by its content where that was seen, else by what the PMT says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Something that HLS carries in MPEG-TS.
    Carried(Codec),
    /// Something that it does not, by name.
    Other(String),
}

/// Which audio stream of a program a rendition carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AudioChoice {
    /// The first in the PMT.
    #[default]
    First,
    /// The first with this ISO 639-2 language code.
    Language(String),
    /// The one on this PID.
    Pid(Pid),
}

impl std::str::FromStr for AudioChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u16::from_str_radix(hex, 16).ok());
        if let Some(number) = number {
            return Pid::new(number).map(Self::Pid).ok_or_else(|| format!("{text} is no PID (0 to 8191)"));
        }
        if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Ok(Self::Language(text.to_ascii_lowercase()));
        }
        Err(format!("{text:?} is neither a PID nor a three-letter language code"))
    }
}

/// What a carried stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Timed metadata.
    Data,
}

/// A stream that a rendition carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedStream {
    /// Its PID, in the input and in the output.
    pub pid: Pid,
    /// What it is.
    pub codec: Codec,
    /// What it is for.
    pub role: Role,
    /// ISO 639-2 language, where the PMT tells one.
    pub language: Option<String>,
    /// The entry that the regenerated PMT gets: the true stream_type, and the descriptors that still hold.
    pub entry: PmtStream,
}

/// A stream that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its PID.
    pub pid: Pid,
    /// What it is, by name.
    pub what: String,
    /// Why it is not carried.
    pub why: Why,
}

/// Why a stream is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// HLS does not carry its content in MPEG-TS.
    NotCarried,
    /// The PMT lists it, but no packet of it came.
    Absent,
    /// It is scrambled.
    Scrambled,
    /// Another audio stream was asked for.
    NotChosen,
    /// A rendition carries one video and one audio stream.
    OneOfRole,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotCarried => "HLS does not carry it in MPEG-TS",
            Self::Absent => "the PMT lists it, but no packet of it came",
            Self::Scrambled => "it is scrambled",
            Self::NotChosen => "another audio stream was asked for",
            Self::OneOfRole => "a rendition carries one stream of its kind; --audio chooses another audio stream",
        })
    }
}

/// What of a program a rendition carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The program's number.
    pub program: u16,
    /// The stream that decides the cuts: the video, or the audio where there is none.
    pub main: Pid,
    /// Carried streams in PMT order.
    pub streams: Vec<CarriedStream>,
    /// The PID of the program's clock.
    pub pcr_pid: Pid,
    /// Program descriptors that still hold.
    pub program_info: Vec<u8>,
    /// What is not carried.
    pub left_out: Vec<LeftOut>,
    /// The PMT from which it was chosen, and the audio that was asked for. None when it holds whatever the PMT says later.
    pub(super) chosen_from: Option<(Pmt, AudioChoice)>,
}

impl Selection {
    /// The carried stream on `pid`.
    #[must_use]
    pub fn stream(&self, pid: Pid) -> Option<&CarriedStream> {
        self.streams.iter().find(|stream| stream.pid == pid)
    }

    /// The carried stream of `role`.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<&CarriedStream> {
        self.streams.iter().find(|stream| stream.role == role)
    }

    /// Whether the clock comes on a PID whose payload is not carried, so that only its PCR is kept.
    #[must_use]
    pub fn clock_only(&self) -> bool {
        self.pcr_pid != Pid::NULL && self.stream(self.pcr_pid).is_none()
    }

    /// Whether both carry the same streams in the same coding, so that nothing changes for a player.
    #[must_use]
    pub fn same_streams(&self, other: &Self) -> bool {
        self.pcr_pid == other.pcr_pid
            && self.streams.len() == other.streams.len()
            && self.streams.iter().zip(&other.streams).all(|(a, b)| a.pid == b.pid && a.codec == b.codec)
    }
}

/// What was seen of a stream's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No packet of it came.
    Nothing,
    /// Only scrambled packets came.
    Scrambled,
    /// Its content could not be recognised.
    Unknown,
    /// This is what it holds.
    As(Sniffed),
}

/// What the PMT says that a stream is (spec TS-011, TS-012).
#[must_use]
pub fn declared(stream: &PmtStream, program_info: &[u8]) -> Option<Content> {
    use Content::{Carried, Other};
    let hdmv = Descriptors::new(program_info).registration() == Some(*b"HDMV");
    let other = |name: &str| Some(Other(name.to_owned()));
    match stream.stream_type.0 {
        0x01 | 0x02 => other("MPEG-2 video"),
        0x03 | 0x04 => Some(Carried(Codec::Mp3)),
        0x0f => Some(Carried(Codec::Aac)),
        0x10 => other("MPEG-4 Visual"),
        0x11 => other("AAC in LATM"),
        0x15 => metadata(&stream.info),
        0x1b => Some(Carried(Codec::H264)),
        0x20 => other("H.264 MVC"),
        0x24 => Some(Carried(Codec::Hevc)),
        0x33 => other("VVC"),
        0x42 | 0xd2 | 0xd4 => other("AVS video"),
        0x80 if hdmv => other("LPCM"),
        0x81 => Some(Carried(Codec::Ac3)),
        0x83 if hdmv => other("TrueHD"),
        0x84 | 0x87 => Some(Carried(Codec::Eac3)),
        0x82 | 0x85 | 0x8a => other("DTS"),
        0x86 if hdmv => other("DTS-HD MA"),
        0x86 => other("SCTE-35"),
        0x90 if hdmv => other("PGS subtitles"),
        0xea => other("VC-1"),
        0xd1 => other("Dirac"),
        0xdb | 0xcf | 0xc1 | 0xc2 => other("SAMPLE-AES encrypted stream"),
        0x06 => private(&stream.info),
        _ => None,
    }
}

fn metadata(info: &[u8]) -> Option<Content> {
    let mut formats = Descriptors::new(info).filter(|descriptor| descriptor.tag == tag::METADATA).peekable();
    // A metadata stream without a format is taken for ID3, which is what HLS knows (spec TS-014).
    let unknown = formats.peek().is_none();
    if unknown || formats.any(|format| format.body.windows(4).any(|four| four == b"ID3 ")) {
        Some(Content::Carried(Codec::Id3))
    } else {
        Some(Content::Other("metadata that is not ID3".to_owned()))
    }
}

fn private(info: &[u8]) -> Option<Content> {
    use Content::{Carried, Other};
    for descriptor in Descriptors::new(info) {
        let found = match descriptor.tag {
            tag::AC3 => Carried(Codec::Ac3),
            tag::E_AC3 => Carried(Codec::Eac3),
            tag::DTS => Other("DTS".to_owned()),
            tag::TELETEXT => Other("DVB teletext".to_owned()),
            tag::SUBTITLING => Other("DVB subtitles".to_owned()),
            tag::REGISTRATION => match descriptor.registration().as_ref() {
                Some(b"AC-3") => Carried(Codec::Ac3),
                Some(b"EAC3") => Carried(Codec::Eac3),
                Some(b"HEVC") => Carried(Codec::Hevc),
                Some(b"ID3 ") => Carried(Codec::Id3),
                Some(b"VVC ") => Other("VVC".to_owned()),
                Some(b"Opus") => Other("Opus".to_owned()),
                Some(b"KLVA") => Other("KLV metadata".to_owned()),
                Some(b"DTS1" | b"DTS2" | b"DTS3") => Other("DTS".to_owned()),
                Some(b"BSSD") => Other("SMPTE 302M audio".to_owned()),
                Some(b"AC-4") => Other("AC-4".to_owned()),
                _ => continue,
            },
            _ => continue,
        };
        return Some(found);
    }
    None
}

/// What a stream is: its content decides, the PMT where that was not seen.
#[must_use]
pub fn identify(declared: Option<Content>, seen: &Seen) -> Content {
    match (declared, seen) {
        // Subtitles and the like say nothing by which content could be told; their descriptor stands.
        (Some(Content::Other(name)), Seen::As(Sniffed::Known(_))) if is_data(&name) => Content::Other(name),
        (_, Seen::As(Sniffed::Known(codec))) => Content::Carried(*codec),
        (_, Seen::As(other)) => Content::Other(other.name().to_owned()),
        (Some(content), _) => content,
        (None, _) => Content::Other("private data".to_owned()),
    }
}

fn is_data(name: &str) -> bool {
    matches!(name, "DVB teletext" | "DVB subtitles" | "SCTE-35" | "KLV metadata" | "PGS subtitles")
}

/// Chooses the streams of a program that a rendition carries.
///
/// # Errors
/// Refuses a program with nothing to play, and a choice of audio that the program does not have.
pub fn select(
    pmt: &Pmt,
    content: impl Fn(&PmtStream) -> (Content, Seen),
    audio: &AudioChoice,
) -> Result<Selection, LadderError> {
    let mut streams: Vec<CarriedStream> = Vec::new();
    let mut left_out = Vec::new();
    let mut audio_wanted = false;
    for stream in &pmt.streams {
        let (what, seen) = content(stream);
        let codec = match what {
            Content::Carried(codec) => codec,
            Content::Other(name) => {
                left_out.push(LeftOut { pid: stream.pid, what: name, why: Why::NotCarried });
                continue;
            }
        };
        let name = codec.name().to_owned();
        let language = language(&stream.info);
        let role = if codec.is_video() {
            Role::Video
        } else if codec.is_audio() {
            Role::Audio
        } else {
            Role::Data
        };
        if role != Role::Data {
            match seen {
                Seen::Nothing => {
                    left_out.push(LeftOut { pid: stream.pid, what: name, why: Why::Absent });
                    continue;
                }
                Seen::Scrambled => {
                    left_out.push(LeftOut { pid: stream.pid, what: name, why: Why::Scrambled });
                    continue;
                }
                Seen::Unknown | Seen::As(_) => {}
            }
        }
        if role == Role::Audio {
            let chosen = match audio {
                AudioChoice::First => true,
                AudioChoice::Language(code) => language.as_deref() == Some(code.as_str()),
                AudioChoice::Pid(pid) => *pid == stream.pid,
            };
            if !chosen {
                left_out.push(LeftOut { pid: stream.pid, what: name, why: Why::NotChosen });
                continue;
            }
            audio_wanted = true;
        }
        if role != Role::Data && streams.iter().any(|other| other.role == role) {
            left_out.push(LeftOut { pid: stream.pid, what: name, why: Why::OneOfRole });
            continue;
        }
        let entry = PmtStream {
            stream_type: output_type(stream, codec),
            pid: stream.pid,
            info: keep_descriptors(&stream.info, |descriptor| descriptor.tag != tag::CA),
        };
        streams.push(CarriedStream { pid: stream.pid, codec, role, language, entry });
    }
    if !audio_wanted && *audio != AudioChoice::First {
        return Err(LadderError::NoSuchAudio { program: pmt.program, left_out });
    }
    let main =
        streams.iter().find(|s| s.role == Role::Video).or_else(|| streams.iter().find(|s| s.role == Role::Audio));
    let Some(main) = main.map(|stream| stream.pid) else {
        return Err(LadderError::NothingPlayable { program: pmt.program, left_out });
    };
    Ok(Selection {
        program: pmt.program,
        main,
        streams,
        pcr_pid: pmt.pcr_pid,
        program_info: keep_descriptors(&pmt.program_info, |descriptor| match descriptor.tag {
            tag::METADATA_POINTER => true,
            // These change what stream types mean, or announce what is left out.
            tag::REGISTRATION => !matches!(descriptor.registration().as_ref(), Some(b"HDMV" | b"CUEI")),
            _ => false,
        }),
        left_out,
        chosen_from: Some((pmt.clone(), audio.clone())),
    })
}

/// The ISO 639-2 code of a stream's language descriptor, in lower case.
#[must_use]
pub fn language(info: &[u8]) -> Option<String> {
    let code = Descriptors::new(info).find(|descriptor| descriptor.tag == tag::LANGUAGE)?.language()?;
    code.iter().all(u8::is_ascii_alphabetic).then(|| String::from_utf8_lossy(&code).to_ascii_lowercase())
}

fn keep_descriptors(info: &[u8], keep: impl Fn(&Descriptor<'_>) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(info.len());
    for descriptor in Descriptors::new(info).filter(keep) {
        out.push(descriptor.tag);
        out.push(descriptor.body.len() as u8);
        out.extend_from_slice(descriptor.body);
    }
    out
}

/// The stream_type that says what the content is, whatever the input's PMT said.
fn output_type(stream: &PmtStream, codec: Codec) -> crate::ts::StreamType {
    let value = match codec {
        Codec::H264 => 0x1b,
        Codec::Hevc => 0x24,
        Codec::Aac => 0x0f,
        Codec::Ac3 => 0x81,
        Codec::Eac3 => 0x87,
        Codec::Mp3 | Codec::Mp2 if stream.stream_type.0 == 0x04 => 0x04,
        Codec::Mp3 | Codec::Mp2 => 0x03,
        Codec::Id3 => 0x15,
    };
    crate::ts::StreamType(value)
}

#[cfg(test)]
mod tests;
