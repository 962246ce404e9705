import Foundation

/// What the app has to know about a model: the part that it needs of the JSON beside each exported file.
struct Manifest: Decodable, Identifiable, Hashable {
    let contract: Contract
    let file: String
    let golden: Golden

    var id: String { file }
    var style: Style { contract.styles[0] }
    var height: Int { contract.size[0] }
    var width: Int { contract.size[1] }

    struct Contract: Decodable, Hashable {
        let styles: [Style]
        let input: Image
        let output: Image
        let size: [Int]
        let resize: String
    }

    struct Style: Decodable, Hashable {
        let name: String
        let title: String
        let artist: String
    }

    struct Image: Decodable, Hashable {
        let name: String
        let kind: String
    }

    /// The golden bundle, which lies in the bundle of the tests.
    struct Golden: Decodable, Hashable {
        let photo: File
        let tensor: File
        let window: [Int]
        let maxError: Double
        let input: File
        let expected: File
        let minPsnrDb: Double

        struct File: Decodable, Hashable {
            let name: String
        }
    }

    /// The manifests of all models in the app, in the order of their names.
    static func all(in bundle: Bundle = .main) throws -> [Manifest] {
        let urls = bundle.urls(forResourcesWithExtension: "json", subdirectory: nil) ?? []
        return try urls.sorted { $0.lastPathComponent < $1.lastPathComponent }.map(read)
    }

    private static func read(_ url: URL) throws -> Manifest {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let manifest = try decoder.decode(Manifest.self, from: Data(contentsOf: url))
        let contract = manifest.contract
        guard contract.resize == "fit-pad-reflect", contract.input.kind == "image", !contract.styles.isEmpty else {
            throw DemoError.model("\(url.lastPathComponent): this app calls files that take images, of a fixed size")
        }
        return manifest
    }
}
