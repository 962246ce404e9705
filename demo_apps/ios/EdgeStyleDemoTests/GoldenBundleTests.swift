import XCTest

@testable import EdgeStyleDemo

/// The app's own code against the golden bundle of every model in it, on this device.
final class GoldenBundleTests: XCTestCase {
    func testThereIsAModel() throws {
        XCTAssertFalse(try Manifest.all().isEmpty)
    }

    /// JPEG, EXIF orientation, filter, window.
    func testThePhotoBecomesTheTensor() throws {
        for manifest in try Manifest.all() {
            let golden = manifest.golden
            let photo = try Picture(encoded: data(golden.photo))
            let prepared = fit(photo, height: manifest.height, width: manifest.width)
            let window = prepared.window
            XCTAssertEqual([window.top, window.left, window.height, window.width], golden.window, manifest.file)
            let expected = try data(golden.tensor).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
            XCTAssertEqual(prepared.tensor.values.count, expected.count, manifest.file)
            // Core ML takes 8 bits: what it is given is what is compared.
            let given = prepared.tensor.picture.rgb.map { Float($0) / 255 }
            let error = zip(given, expected).map { abs($0 - $1) }.max() ?? .infinity
            XCTAssertLessThanOrEqual(Double(error), golden.maxError, "\(manifest.file): off by \(error * 255) / 255")
        }
    }

    /// The network's call, on each compute unit.
    func testTheInputBecomesTheExpectedPicture() async throws {
        let model = StyleModel()
        for manifest in try Manifest.all() {
            let input = try Picture(encoded: data(manifest.golden.input)).pixelBuffer()
            let expected = try Picture(encoded: data(manifest.golden.expected))
            for unit in ComputeUnit.allCases {
                let painted = Picture(try await model.paint(input, with: manifest, on: unit))
                let decibels = psnr(painted, expected)
                XCTAssertGreaterThanOrEqual(
                    decibels, manifest.golden.minPsnrDb, "\(manifest.file) on \(unit.rawValue): \(decibels) dB")
            }
        }
    }

    private func data(_ file: Manifest.Golden.File) throws -> Data {
        let url = Bundle(for: Self.self).resourceURL!.appending(path: file.name)
        return try Data(contentsOf: url)
    }

    private func psnr(_ a: Picture, _ b: Picture) -> Double {
        XCTAssertEqual(a.rgb.count, b.rgb.count)
        let squares = zip(a.rgb, b.rgb).map { pow((Double($0) - Double($1)) / 255, 2) }
        return -10 * log10(squares.reduce(0, +) / Double(squares.count))
    }
}
