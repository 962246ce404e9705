/// A picture in 8 bits: red, green, blue, row by row, upright, sRGB.
///
/// This file and Prepare.swift know nothing of iOS, so that any Swift compiler can build and test them.
struct Picture: Equatable, Sendable {
    static let channels = 3

    let width: Int
    let height: Int
    let rgb: [UInt8]

    init(width: Int, height: Int, rgb: [UInt8]) {
        precondition(width > 0 && height > 0 && rgb.count == width * height * Self.channels)
        self.width = width
        self.height = height
        self.rgb = rgb
    }
}

/// The part of an enlarged picture that holds the real one, in pixels.
struct Window: Equatable, Sendable {
    let top: Int
    let left: Int
    let height: Int
    let width: Int
}

/// A picture as floats in [0, 1]: (height, width, 3), row by row, RGB interleaved.
struct Tensor: Sendable {
    let height: Int
    let width: Int
    let values: [Float]

    init(height: Int, width: Int, values: [Float]) {
        precondition(values.count == height * width * Picture.channels)
        self.height = height
        self.width = width
        self.values = values
    }

    /// In 8 bits, halves rounded up.
    var picture: Picture {
        Picture(width: width, height: height, rgb: values.map(byte))
    }
}

/// A value in [0, 1] as 0...255.
func byte(_ value: Float) -> UInt8 {
    UInt8(min(max(value * 255 + 0.5, 0), 255))
}
