import Foundation

/// What can go wrong, and what to tell the user.
enum DemoError: LocalizedError, Equatable {
    case noModels
    case model(String)
    case noCamera
    case cameraRefused
    case photo
    case save(String)

    var errorDescription: String? {
        switch self {
        case .noModels:
            "There is no model in this app. Write the project with: edgestyle demo ios --model NAME --out FOLDER"
        case .model(let reason):
            "The model cannot run here: \(reason)"
        case .noCamera:
            "There is no camera that can be used. Choose a photo instead."
        case .cameraRefused:
            "The camera is not allowed. Choose a photo, or allow the camera in Settings."
        case .photo:
            "This photo cannot be read. Choose another."
        case .save(let reason):
            "The picture could not be saved: \(reason)"
        }
    }
}
