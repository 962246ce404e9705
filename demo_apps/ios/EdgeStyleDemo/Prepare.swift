#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A photo as a network takes it, and where in it the photo lies.
struct Prepared: Sendable {
    let tensor: Tensor
    let window: Window
}

/// The manifest's rule `fit-pad-reflect`: scale to fit inside `height` x `width`, aspect kept; centre; fill the rest by
/// reflection, the edge itself not repeated.
func fit(_ photo: Picture, height: Int, width: Int) -> Prepared {
    let scale = min(Double(height) / Double(photo.height), Double(width) / Double(photo.width))
    let h = scaled(photo.height, by: scale)
    let w = scaled(photo.width, by: scale)
    let window = Window(top: (height - h) / 2, left: (width - w) / 2, height: h, width: w)
    let small = resize(photo, height: h, width: w)
    return Prepared(tensor: reflect(small, window: window, height: height, width: width), window: window)
}

private func scaled(_ side: Int, by scale: Double) -> Int {
    max(1, Int((Double(side) * scale + 0.5).rounded(.down)))
}

/// The manifest's filter: Lanczos with three lobes, widened where it scales down; along rows, then along columns.
private func resize(_ photo: Picture, height: Int, width: Int) -> Tensor {
    let narrow = narrowed(photo, to: width)
    let stride = width * Picture.channels
    var values = [Float](repeating: 0, count: height * stride)
    values.withUnsafeMutableBufferPointer { values in
        narrow.withUnsafeBufferPointer { narrow in
            for (row, taps) in makeTaps(from: photo.height, to: height).enumerated() {
                for (tap, weight) in taps.weights.enumerated() {
                    let source = (taps.first + tap) * stride
                    for at in 0..<stride {
                        values[row * stride + at] += weight * narrow[source + at]
                    }
                }
            }
            for at in values.indices {
                values[at] = min(max(values[at], 0), 1)
            }
        }
    }
    return Tensor(height: height, width: width, values: values)
}

/// The photo with `width` columns and all of its rows, as floats.
private func narrowed(_ photo: Picture, to width: Int) -> [Float] {
    var narrow = [Float](repeating: 0, count: photo.height * width * Picture.channels)
    narrow.withUnsafeMutableBufferPointer { narrow in
        photo.rgb.withUnsafeBufferPointer { rgb in
            for (column, taps) in makeTaps(from: photo.width, to: width).enumerated() {
                for row in 0..<photo.height {
                    var sum = SIMD3<Float>.zero
                    var source = (row * photo.width + taps.first) * Picture.channels
                    for weight in taps.weights {
                        sum += weight * SIMD3(Float(rgb[source]), Float(rgb[source + 1]), Float(rgb[source + 2]))
                        source += Picture.channels
                    }
                    for channel in 0..<Picture.channels {
                        narrow[(row * width + column) * Picture.channels + channel] = sum[channel] / 255
                    }
                }
            }
        }
    }
    return narrow
}

/// What a value is the mean of: the values from `first` on, each weighed.
private struct Taps {
    let first: Int
    let weights: [Float]
}

/// For each of `m` values made of `n`.
private func makeTaps(from n: Int, to m: Int) -> [Taps] {
    let ratio = Double(n) / Double(m)
    let widened = max(1, ratio)
    return (0..<m).map { i in
        let centre = (Double(i) + 0.5) * ratio
        let first = max(0, Int((centre - lobes * widened + 0.5).rounded(.down)))
        let end = min(n, Int((centre + lobes * widened + 0.5).rounded(.down)))
        let weights = (first..<end).map { lanczos((Double($0) + 0.5 - centre) / widened) }
        let sum = weights.reduce(0, +)
        return Taps(first: first, weights: weights.map { Float($0 / sum) })
    }
}

private let lobes = 3.0

private func lanczos(_ x: Double) -> Double {
    abs(x) < lobes ? sinc(x) * sinc(x / lobes) : 0
}

private func sinc(_ x: Double) -> Double {
    x == 0 ? 1 : sin(.pi * x) / (.pi * x)
}

/// `tensor` at `window` of a larger one.
private func reflect(_ tensor: Tensor, window: Window, height: Int, width: Int) -> Tensor {
    if tensor.height == height && tensor.width == width { return tensor }
    var values = [Float]()
    values.reserveCapacity(height * width * Picture.channels)
    let columns = (0..<width).map { mirrored($0 - window.left, size: tensor.width) }
    for row in 0..<height {
        let start = mirrored(row - window.top, size: tensor.height) * tensor.width
        for column in columns {
            let source = (start + column) * Picture.channels
            values.append(contentsOf: tensor.values[source..<source + Picture.channels])
        }
    }
    return Tensor(height: height, width: width, values: values)
}

/// The place inside `0..<size` that `at` is the reflection of, as often as needed: c b | a b c | b a.
private func mirrored(_ at: Int, size: Int) -> Int {
    if size == 1 { return 0 }
    let period = 2 * (size - 1)
    let inside = (at % period + period) % period
    return inside < size ? inside : period - inside
}
