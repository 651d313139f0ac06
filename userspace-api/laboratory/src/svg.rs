//! Drawing: a small writer of SVG, axes, and the picture as PNG.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// Ink of axes and words, of grid lines, and of what is beside the point.
pub(crate) const INK: &str = "#222222";
pub(crate) const GRID: &str = "#dddddd";
pub(crate) const GREY: &str = "#888888";

/// Where a text is fastened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn word(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

/// A drawing.
#[derive(Debug)]
pub(crate) struct Svg {
    body: String,
    width: f64,
    height: f64,
}

/// Text that stands in XML and HTML.
#[must_use]
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Svg {
        let mut svg = Svg {
            body: String::new(),
            width,
            height,
        };
        svg.rect((0.0, 0.0), (width, height), "#ffffff");
        svg
    }

    /// Appends an element; writing into a string does not fail.
    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    pub(crate) fn rect(&mut self, at: (f64, f64), size: (f64, f64), fill: &str) {
        self.put(format_args!(
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{fill}"/>"#,
            at.0, at.1, size.0, size.1
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
        self.put(format_args!(
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{stroke}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    pub(crate) fn curve(&mut self, points: &[(f64, f64)], stroke: &str, is_dashed: bool) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{x:.1},{y:.1} "); // into a string
        }
        let dashes = if is_dashed {
            r#" stroke-dasharray="5 4""#
        } else {
            ""
        };
        self.put(format_args!(
            r#"<polyline points="{}" fill="none" stroke="{stroke}" stroke-width="2"{dashes}/>"#,
            path.trim_end()
        ));
    }

    pub(crate) fn dot(&mut self, at: (f64, f64), fill: &str, is_hollow: bool) {
        let inside = if is_hollow { "#ffffff" } else { fill };
        self.put(format_args!(
            r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{inside}" stroke="{fill}" stroke-width="1.5"/>"#,
            at.0, at.1
        ));
    }

    pub(crate) fn text(
        &mut self,
        at: (f64, f64),
        size: f64,
        anchor: Anchor,
        fill: &str,
        text: &str,
    ) {
        self.put(format_args!(
            r#"<text x="{:.1}" y="{:.1}" font-family="sans-serif" font-size="{size}" text-anchor="{}" fill="{fill}">{}</text>"#,
            at.0,
            at.1,
            anchor.word(),
            escape(text)
        ));
    }

    /// Text that reads upwards.
    pub(crate) fn upright(&mut self, at: (f64, f64), size: f64, text: &str) {
        self.put(format_args!(
            r#"<text transform="translate({:.1} {:.1}) rotate(-90)" font-family="sans-serif" font-size="{size}" text-anchor="middle" fill="{INK}">{}</text>"#,
            at.0,
            at.1,
            escape(text)
        ));
    }

    pub(crate) fn finish(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n{2}</svg>\n",
            self.width, self.height, self.body
        )
    }
}

/// One axis: from values to places.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// Values `low` to `high` over places `from` to `to`; both values of a logarithmic one are above zero.
    pub(crate) fn new(values: (f64, f64), is_log: bool, places: (f64, f64)) -> Axis {
        let (low, mut high) = values;
        if high <= low {
            high = if low > 0.0 { low * 10.0 } else { low + 1.0 };
        }
        Axis {
            low,
            high,
            is_log,
            from: places.0,
            to: places.1,
        }
    }

    pub(crate) fn place(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// What a mark is called.
    pub(crate) fn name(&self, value: f64) -> String {
        match self.is_log {
            true => short(value),
            false => short_beside(value, self.marks().last().map_or(value, |it| it.0)),
        }
    }

    /// Values to mark, each with whether it is named.
    pub(crate) fn marks(&self) -> Vec<(f64, bool)> {
        if self.is_log {
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            let few = last - first <= 3;
            let decades = (first..=last).flat_map(|power| {
                (1..10).map(move |digit| {
                    let is_named = digit == 1 || (few && (digit == 2 || digit == 5));
                    (f64::from(digit) * 10_f64.powi(power), is_named)
                })
            });
            let within = self.low * 0.999..=self.high * 1.001;
            return decades
                .filter(|(value, _)| within.contains(value))
                .collect();
        }
        let rough = (self.high - self.low) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|it| it * power)
            .find(|it| *it >= rough)
            .unwrap_or(10.0 * power);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|it| (it as f64 * step, true)).collect()
    }
}

/// A number as a plot names it: 1,234, 56k, 7.8M.
#[must_use]
pub(crate) fn short(value: f64) -> String {
    short_beside(value, value)
}

/// The same in the unit of another one: all names of an axis have that of its largest.
fn short_beside(value: f64, largest: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let (value, unit) = match largest.abs() {
        it if it >= 1e9 => (value / 1e9, "G"),
        it if it >= 1e6 => (value / 1e6, "M"),
        it if it >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        it if it >= 100.0 || it.fract() < 0.005 => 0,
        it if it >= 10.0 => 1,
        it if it >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    grouped(&text) + unit
}

/// A number with commas between its thousands.
#[must_use]
pub(crate) fn grouped(text: &str) -> String {
    let (whole, rest) = match text.find('.') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// An SVG of this crate as PNG, twice as large. The font is in the program, so that the picture is the same on every machine.
///
/// # Panics
/// `svg` is none of this crate's.
#[must_use]
pub fn png(svg: &str) -> Vec<u8> {
    use resvg::{tiny_skia, usvg};
    /// Pixels of a unit.
    const SCALE: f32 = 2.0;
    /// Made once: reading a font takes longer than drawing.
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();

    let fonts = FONTS.get_or_init(|| {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
        let family = fonts
            .faces()
            .next()
            .and_then(|face| face.families.first())
            .map(|(name, _)| name.clone());
        fonts.set_sans_serif_family(family.expect("a font has a name"));
        Arc::new(fonts)
    });
    let options = usvg::Options {
        fontdb: Arc::clone(fonts),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(svg, &options).expect("what this crate draws is SVG");
    let size = tree.size();
    let (width, height) = (
        (size.width() * SCALE) as u32,
        (size.height() * SCALE) as u32,
    );
    let mut picture = tiny_skia::Pixmap::new(width, height).expect("a drawing has a size");
    let scale = tiny_skia::Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, scale, &mut picture.as_mut());
    picture.encode_png().expect("pixels are PNG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.125, "0.125"),
            (2.5, "2.5"),
            (999.0, "999"),
            (1234.0, "1,234"),
            (56_000.0, "56k"),
            (7_800_000.0, "7.8M"),
            (120_000.0, "120k"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(grouped("-1234567.25"), "-1,234,567.25");
        let axis = Axis::new((0.0, 11_800.0), false, (0.0, 1.0));
        let names: Vec<String> = axis.marks().iter().map(|it| axis.name(it.0)).collect();
        assert_eq!(names, ["0", "2k", "4k", "6k", "8k", "10k"]);
    }

    #[test]
    fn axes_name_round_values_within_their_range() {
        let linear = Axis::new((0.0, 160_000.0), false, (80.0, 600.0));
        let named: Vec<f64> = linear.marks().iter().map(|it| it.0).collect();
        assert_eq!(named, [0.0, 50_000.0, 100_000.0, 150_000.0]);
        assert_eq!((linear.place(0.0), linear.place(160_000.0)), (80.0, 600.0));
        let log = Axis::new((1.0, 1_000.0), true, (0.0, 3.0));
        assert!((log.place(100.0) - 2.0).abs() < 1e-9);
        assert!(log.marks().contains(&(50.0, true)) && log.marks().contains(&(70.0, false)));
    }

    #[test]
    fn words_are_in_the_picture() {
        let draw = |text: &str| {
            let mut svg = Svg::new(200.0, 40.0);
            svg.text((10.0, 25.0), 14.0, Anchor::Start, INK, text);
            png(&svg.finish())
        };
        assert!(draw("p < q & r").starts_with(b"\x89PNG"));
        assert_ne!(draw("latency"), draw(""), "a font was found");
    }
}
