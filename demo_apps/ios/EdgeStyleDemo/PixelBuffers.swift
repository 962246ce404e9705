import CoreGraphics
import CoreVideo

/// Ways between pictures and what the system's frameworks hold them in: BGRA, rows that may be longer than the picture.
extension Picture {
    /// The pixels of a camera's frame or a network's output.
    init(_ buffer: CVPixelBuffer) {
        precondition(CVPixelBufferGetPixelFormatType(buffer) == kCVPixelFormatType_32BGRA)
        CVPixelBufferLockBaseAddress(buffer, .readOnly)
        defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
        let bytes = CVPixelBufferGetBaseAddress(buffer)!.assumingMemoryBound(to: UInt8.self)
        self.init(
            bgra: bytes,
            width: CVPixelBufferGetWidth(buffer),
            height: CVPixelBufferGetHeight(buffer),
            bytesPerRow: CVPixelBufferGetBytesPerRow(buffer)
        )
    }

    init(bgra: UnsafePointer<UInt8>, width: Int, height: Int, bytesPerRow: Int) {
        let rgb = [UInt8](unsafeUninitializedCapacity: width * height * Picture.channels) { rgb, count in
            var at = 0
            for row in 0..<height {
                let start = bgra + row * bytesPerRow
                for column in 0..<width {
                    rgb[at] = start[4 * column + 2]
                    rgb[at + 1] = start[4 * column + 1]
                    rgb[at + 2] = start[4 * column]
                    at += Picture.channels
                }
            }
            count = at
        }
        self.init(width: width, height: height, rgb: rgb)
    }

    /// What Core ML takes.
    func pixelBuffer() throws -> CVPixelBuffer {
        var made: CVPixelBuffer?
        let attributes: [CFString: Any] = [kCVPixelBufferIOSurfacePropertiesKey: [CFString: Any]()]
        CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, attributes as CFDictionary, &made)
        guard let buffer = made else { throw DemoError.model("there is no memory for \(width) x \(height) pixels") }
        CVPixelBufferLockBaseAddress(buffer, [])
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        let bytes = CVPixelBufferGetBaseAddress(buffer)!.assumingMemoryBound(to: UInt8.self)
        let bytesPerRow = CVPixelBufferGetBytesPerRow(buffer)
        for row in 0..<height {
            for column in 0..<width {
                let source = (row * width + column) * Picture.channels
                let target = row * bytesPerRow + column * 4
                bytes[target] = rgb[source + 2]
                bytes[target + 1] = rgb[source + 1]
                bytes[target + 2] = rgb[source]
                bytes[target + 3] = 255
            }
        }
        return buffer
    }
}
