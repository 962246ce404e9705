import CoreGraphics
import Foundation
import ImageIO

/// Photos whose longer side has more pixels are read smaller: a network sees far less, and memory is short.
private let longestSide = 4096

extension Picture {
    /// An encoded photo, upright by its EXIF orientation, in sRGB, transparency over white.
    init(encoded data: Data) throws {
        guard let source = CGImageSourceCreateWithData(data as CFData, nil),
            let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
            let width = properties[kCGImagePropertyPixelWidth] as? Int,
            let height = properties[kCGImagePropertyPixelHeight] as? Int
        else { throw DemoError.photo }
        // The only call that turns the photo; at its full size it leaves the pixels as they are.
        let options: [CFString: Any] = [
            kCGImageSourceCreateThumbnailFromImageAlways: true,
            kCGImageSourceCreateThumbnailWithTransform: true,
            kCGImageSourceThumbnailMaxPixelSize: min(max(width, height), longestSide),
        ]
        guard let image = CGImageSourceCreateThumbnailAtIndex(source, 0, options as CFDictionary) else {
            throw DemoError.photo
        }
        try self.init(image)
    }

    private init(_ image: CGImage) throws {
        let format = CGImageAlphaInfo.noneSkipFirst.rawValue | CGBitmapInfo.byteOrder32Little.rawValue  // BGRA
        guard let sRGB = CGColorSpace(name: CGColorSpace.sRGB),
            let context = CGContext(
                data: nil, width: image.width, height: image.height, bitsPerComponent: 8, bytesPerRow: 0,
                space: sRGB, bitmapInfo: format),
            let data = context.data
        else { throw DemoError.photo }
        let whole = CGRect(x: 0, y: 0, width: image.width, height: image.height)
        context.setFillColor(CGColor(red: 1, green: 1, blue: 1, alpha: 1))
        context.fill(whole)
        context.interpolationQuality = .none
        context.draw(image, in: whole)
        self = withExtendedLifetime(context) {  // it owns the data
            Picture(
                bgra: data.assumingMemoryBound(to: UInt8.self),
                width: image.width,
                height: image.height,
                bytesPerRow: context.bytesPerRow
            )
        }
    }
}
