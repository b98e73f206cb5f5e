//! English number words, as num2words spells them: "one thousand, two hundred and thirty-four".

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const SCALES: [&str; 12] = [
    "",
    " thousand",
    " million",
    " billion",
    " trillion",
    " quadrillion",
    " quintillion",
    " sextillion",
    " septillion",
    " octillion",
    " nonillion",
    " decillion",
];
/// Numbers of more digits are read digit by digit.
const MAX_DIGITS: usize = 36;

/// The words for a run of ASCII digits: a number, or single digits when there are too many.
pub(super) fn cardinal(digits: &str) -> String {
    match digits.parse::<u128>() {
        Ok(number) if digits.trim_start_matches('0').len() <= MAX_DIGITS => spell(number),
        Ok(_) | Err(_) => each_digit(digits),
    }
}

/// "twenty-third", "one hundred and first".
pub(super) fn ordinal(digits: &str) -> String {
    let words = cardinal(digits);
    let at = words.rfind([' ', '-']).map_or(0, |at| at + 1);
    let (head, last) = words.split_at(at);
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        last => match last.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{last}th"),
        },
    };
    format!("{head}{last}")
}

/// Four digits as a year: "nineteen oh-five", "two thousand and five", "twenty ten".
pub(super) fn year(digits: &str) -> String {
    let Ok(number) = digits.parse::<u16>() else {
        return cardinal(digits);
    };
    let (high, low) = (number / 100, number % 100);
    if high == 0 || (high % 10 == 0 && low < 10) || high >= 100 {
        return cardinal(digits);
    }
    let low = match low {
        0 => "hundred".to_owned(),
        1..=9 => format!("oh-{}", spell(low.into())),
        _ => spell(low.into()),
    };
    format!("{} {low}", spell(high.into()))
}

/// "3.140" is "three point one four".
pub(super) fn decimal(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return cardinal(whole);
    }
    format!("{} point {}", cardinal(whole), each_digit(fraction))
}

/// "one four one".
pub(super) fn each_digit(text: &str) -> String {
    let words: Vec<&str> = text
        .chars()
        .filter_map(|c| c.to_digit(10))
        .map(|digit| ONES[digit as usize])
        .collect();
    words.join(" ")
}

fn spell(mut number: u128) -> String {
    if number < 1000 {
        return below_thousand(number as usize);
    }
    let mut groups = Vec::new();
    let mut last_is_small = false;
    for scale in SCALES {
        let group = (number % 1000) as usize;
        number /= 1000;
        if group > 0 {
            if groups.is_empty() {
                // "one thousand and one", but "one thousand, two hundred".
                last_is_small = group < 100;
            }
            groups.push(below_thousand(group) + scale);
        }
    }
    groups.reverse();
    match groups.split_last() {
        Some((last, before)) if last_is_small && !before.is_empty() && !last.contains(' ') => {
            format!("{} and {last}", before.join(", "))
        }
        Some(_) | None => groups.join(", "),
    }
}

fn below_thousand(number: usize) -> String {
    let (hundreds, rest) = (number / 100, number % 100);
    let small = match rest {
        0..20 => ONES[rest].to_owned(),
        _ if rest % 10 == 0 => TENS[rest / 10].to_owned(),
        _ => format!("{}-{}", TENS[rest / 10], ONES[rest % 10]),
    };
    match (hundreds, rest) {
        (0, _) => small,
        (_, 0) => format!("{} hundred", ONES[hundreds]),
        _ => format!("{} hundred and {small}", ONES[hundreds]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_num2words_does() {
        let check = |digits: &str, expected: &str| assert_eq!(cardinal(digits), expected);
        check("0", "zero");
        check("21", "twenty-one");
        check("110", "one hundred and ten");
        check("1000", "one thousand");
        check("1001", "one thousand and one");
        check("1234", "one thousand, two hundred and thirty-four");
        check("2000000", "two million");
        check(
            "1000000000000000000000000000000000000",
            "one zero zero zero zero zero zero zero zero zero zero zero zero \
            zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero",
        );
    }

    /// The number that words name, by a list of its own.
    fn number_of(words: &str) -> u128 {
        let small = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
                     sixteen seventeen eighteen nineteen";
        let tens = "twenty thirty forty fifty sixty seventy eighty ninety";
        let scales = "thousand million billion trillion";
        let place = |list: &str, word: &str| list.split(' ').position(|w| w == word);
        let (mut whole, mut part) = (0, 0);
        for word in words.split([' ', '-', ',']) {
            if let Some(n) = place(small, word) {
                part += n as u128;
            } else if let Some(n) = place(tens, word) {
                part += 20 + 10 * n as u128;
            } else if word == "hundred" {
                part *= 100;
            } else if let Some(n) = place(scales, word) {
                whole += part * 1000_u128.pow(n as u32 + 1);
                part = 0;
            } else {
                assert!(matches!(word, "" | "and"), "{word} in {words}");
            }
        }
        whole + part
    }

    #[test]
    fn every_number_is_named_by_its_words() {
        let large = (0..4000).map(|i: u128| i.pow(4) * 7919 % 1_000_000_000_000_000);
        for number in (0..=10_000).chain(large) {
            let words = cardinal(&number.to_string());
            assert_eq!(number_of(&words), number, "{words}");
        }
    }

    #[test]
    fn ordinals_years_and_decimals() {
        for (digits, expected) in [
            ("1", "first"),
            ("12", "twelfth"),
            ("23", "twenty-third"),
            ("40", "fortieth"),
            ("101", "one hundred and first"),
        ] {
            assert_eq!(ordinal(digits), expected);
        }
        for (digits, expected) in [
            ("1905", "nineteen oh-five"),
            ("2005", "two thousand and five"),
            ("2024", "twenty twenty-four"),
            ("1900", "nineteen hundred"),
        ] {
            assert_eq!(year(digits), expected);
        }
        assert_eq!(decimal("3.140"), "three point one four");
        assert_eq!(decimal(".5"), "zero point five");
    }
}
