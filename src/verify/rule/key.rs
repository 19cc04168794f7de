//! Keys, IVs and what is encrypted.

use super::rules;

rules! {
    METHOD "key-method" E/E "R4.3.2.4 KEY-001"
        "EXT-X-KEY has no METHOD, or one that no standard has."
        "Write METHOD=AES-128 or METHOD=NONE.";
    METHOD_UNCHECKED "key-method-unchecked" N/N "R4.3.2.4 KEY-001"
        "The segments are encrypted by a method that is not decrypted here: their content was not looked at."
        "Check them with a tool of that protection system.";
    NONE_ATTRIBUTES "key-none-attributes" E/E "R4.3.2.4 KEY-002"
        "EXT-X-KEY with METHOD=NONE has other attributes."
        "Write #EXT-X-KEY:METHOD=NONE alone.";
    URI_MISSING "key-uri-missing" E/E "R4.3.2.4 KEY-005"
        "EXT-X-KEY has no URI: players do not know where the key is."
        "Add URI=\"...\".";
    IV_SYNTAX "iv-syntax" E/E "R4.3.2.4 KEY-006 AMB-04"
        "The IV is not 0x and 32 hexadecimal digits; players fill shorter ones from different sides."
        "Write all 32 digits.";
    IV_IMPLICIT "iv-implicit" W/W "B5.2 KEY-007"
        "No IV is written: it follows from the media sequence number, so an edited playlist no longer decrypts, and renditions share IVs."
        "Write an IV with every EXT-X-KEY.";
    IV_FORBIDDEN "iv-forbidden" E/E "B4.4.4.4 KEY-008"
        "The method forbids an IV attribute."
        "Take IV out.";
    SEVERAL "key-several" W/W "R4.3.2.4 AMB-06"
        "Several EXT-X-KEY tags apply to one segment; some players take the last, whatever its KEYFORMAT."
        "Put the one with KEYFORMAT identity last, or keep one.";
    UNREACHABLE "key-unreachable" E/E "R6.3.6 KEY-014"
        "The key cannot be had: nobody plays these segments, and they were not decrypted."
        "Check the key's URI, the token (--header, --cookie), or give the key with --key-file.";
    UNCHECKED "key-uri-unchecked" N/N "KEY-014"
        "The key came from the key store or the command line; that players get it from its URI was not checked."
        "Run verify against the published URL.";
    LENGTH "key-length" E/E "R5.1 KEY-014"
        "The key file is not exactly 16 bytes; text, a line end or an error page came instead."
        "Serve the 16 raw bytes.";
    INSECURE "key-insecure" W/W "R10 KEY-017"
        "The key travels over plain HTTP: everybody on the way has it."
        "Serve keys over https.";
    PUBLISHED "key-published" W/W "R10 peers 25"
        "The key lies beside the segments or in the playlist itself: everybody who gets the segments can decrypt them."
        "Serve the key from a place that asks who wants it.";
    LEAKED "key-leaked" E/E "threat model, peers 25"
        "The key's bytes stand in a published file that is not the key's URI."
        "Take the file away, and encrypt again under a new key: this one is known.";
    CACHEABLE "key-redirected" W/W "A8.18 PLY-022"
        "The key came after a redirect; some players lose the token on the way."
        "Answer the key's URI directly.";
    IV_REUSED "iv-reused" W/W "KEY-023 AMB-02, NIST SP 800-38A app. C"
        "Segments share key and IV: equal beginnings are equal ciphertext, which tells what they have in common."
        "Give every segment of every rendition its own random IV.";
    CIPHER_LENGTH "cipher-length" E/E "R4.3.2.4 RFC 5652 6.3 KEY-004"
        "An encrypted segment is not a whole number of 16-byte blocks: it was cut short or is not encrypted."
        "Write the whole segment, with its padding.";
    PADDING "padding" E/E "R4.3.2.4 RFC 5652 6.3 KEY-004"
        "The decrypted segment does not end in PKCS7 padding: the key is wrong, the end is damaged, or padding was left out."
        "Pad every segment with 1 to 16 bytes; check key and file.";
    PLAINTEXT "plaintext-segment" E/E "R4.3.2.4 R6.2.3 KEY-003"
        "The segment is clear, and the playlist says that it is encrypted: players make noise of it."
        "Encrypt it, or put EXT-X-KEY:METHOD=NONE before it.";
    CIPHERTEXT "ciphertext-segment" E/E "R6.2.3 KEY-011"
        "The segment is not clear media, and no EXT-X-KEY applies to it."
        "Put the EXT-X-KEY before it, or publish the clear segment.";
    WRONG_KEY "wrong-key" E/E "R4.3.2.4 KEY-003"
        "The decrypted segment is no media: it was encrypted under another key, or is damaged."
        "Publish the key that the segment was encrypted under.";
    WRONG_IV "wrong-iv" E/E "R4.3.2.4 KEY-003, peers 3"
        "Only the first block decrypts wrongly: the IV is not the one that the segment was encrypted with. Most players lose its first packet in silence."
        "Write the right IV; check EXT-X-MEDIA-SEQUENCE where no IV is written.";
}
