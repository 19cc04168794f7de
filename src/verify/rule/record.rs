//! `keyrung.json`, the commit record of a package of ours.

use super::rules;

rules! {
    UNREADABLE "record-unreadable" E/E "formats: keyrung.json"
        "keyrung.json is not a commit record of a version that is known."
        "Publish the package again.";
    FILE_MISSING "record-file-missing" E/E "formats: keyrung.json"
        "A file that keyrung.json names is not there."
        "Copy the package again, whole.";
    SIZE "record-size" E/E "formats: keyrung.json"
        "A file has not the size that keyrung.json states: it was cut short or replaced."
        "Copy the file again, or package again.";
    DIGEST "record-digest" E/E "formats: keyrung.json"
        "A file's checksum is not the one in keyrung.json: it was damaged or changed."
        "Copy the file again, or package again.";
    SEAL "record-seal" E/E "formats: Seal"
        "keyrung.json's seal does not match it under the package's key: the record was changed."
        "Do not trust the package; take it from its source again.";
    SEAL_UNCHECKED "record-seal-unchecked" N/N "formats: Seal"
        "The seal of keyrung.json could not be checked: the key is not at hand."
        "Give the key with --key-store or --key-file.";
    SURPLUS "record-surplus" W/W "formats: What is a package of ours"
        "A file lies in the package that keyrung.json does not name."
        "Take it out, if it is not yours.";
    DIFFERS "record-differs" E/E "formats: keyrung.json"
        "keyrung.json and the playlists contradict each other: one of them was changed."
        "Take both from the same run.";
}
