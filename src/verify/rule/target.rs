//! Getting at what is to be checked.

use super::rules;

rules! {
    PLAYLIST "playlist-unreachable" E/E "R6.2.1"
        "A playlist that is named cannot be had."
        "Publish it, or take its name out.";
    SEGMENT "segment-unreachable" E/E "R6.2.1 SEG-007"
        "A segment that the playlist names cannot be had: playback stops here."
        "Publish segments before the playlist that names them.";
    MAP "map-unreachable" E/E "R4.3.2.5"
        "The initialisation section that EXT-X-MAP names cannot be had."
        "Publish it.";
    UNSAFE "uri-unsafe" E/E "reliability 14"
        "A URI leads where a published playlist must not lead: another scheme, a private address, or out of its folder. It was not followed."
        "Use URIs of the published site; --allow-private lets private addresses in.";
    REDIRECT "segment-redirected" W/E "A8.18 SEG-010"
        "A media request is redirected: time is lost with every segment."
        "Answer the URI directly.";
    NESTED "playlist-nested" E/E "R4.3.4.2 reliability 14"
        "A multivariant playlist is named where a media playlist must be; it was not followed."
        "Name media playlists.";
    TOO_MANY "too-many" E/E "reliability 14"
        "There are more playlists, segments or keys than are looked at; the rest was left out."
        "Check the parts one by one.";
    TOO_SLOW "too-slow" E/E "reliability 14"
        "The server is too slow; what was still to be fetched was left out."
        "Check the server; --timeout gives it more time.";
    TOO_LARGE "too-large" E/E "reliability 14"
        "The resource is larger than any that is read; the rest of it was left out."
        "Check what the server sends.";
    SAMPLED "sampled" N/N "--sample"
        "Only a part of the segments was looked at."
        "Run without --sample to check all.";
    COMPRESSED "content-encoding" E/E "R6.2.1 B6.2.1"
        "A segment or key came with a Content-Encoding: players that do not ask for it get bytes that they cannot use."
        "Serve segments and keys as they are.";
}
