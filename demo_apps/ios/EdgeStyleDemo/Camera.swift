import AVFoundation

/// The camera's frames, upright, as long as somebody listens. Frames that come while one is painted are dropped.
@MainActor
final class Camera {
    private let session = AVCaptureSession()
    private let output = AVCaptureVideoDataOutput()
    private let receiver = FrameReceiver()
    private var rotation: AVCaptureDevice.RotationCoordinator?
    private var turning: NSKeyValueObservation?

    /// The newest frames, for one listener at a time.
    func frames() -> AsyncStream<Picture> {
        let receiver = receiver
        return AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            receiver.queue.sync { receiver.listener = continuation }
        }
    }

    /// Asks for the camera if need be, and starts it.
    ///
    /// - Throws: `DemoError.cameraRefused` or `DemoError.noCamera`.
    func start(front: Bool) async throws {
        guard await AVCaptureDevice.requestAccess(for: .video) else { throw DemoError.cameraRefused }
        let position: AVCaptureDevice.Position = front ? .front : .back
        guard
            let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: position)
                ?? AVCaptureDevice.default(for: .video),
            let input = try? AVCaptureDeviceInput(device: device)
        else { throw DemoError.noCamera }
        try connect(input, mirrored: device.position == .front)
        follow(device)
        let session = session
        await Task.detached { session.startRunning() }.value  // it blocks
    }

    func stop() {
        let session = session
        Task.detached { session.stopRunning() }
    }

    private func connect(_ input: AVCaptureDeviceInput, mirrored: Bool) throws {
        session.beginConfiguration()
        defer { session.commitConfiguration() }
        session.inputs.forEach(session.removeInput)
        session.sessionPreset = .vga640x480
        guard session.canAddInput(input) else { throw DemoError.noCamera }
        session.addInput(input)
        if session.outputs.isEmpty {
            output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
            output.alwaysDiscardsLateVideoFrames = true
            output.setSampleBufferDelegate(receiver, queue: receiver.queue)
            guard session.canAddOutput(output) else { throw DemoError.noCamera }
            session.addOutput(output)
        }
        if let connection = output.connection(with: .video), connection.isVideoMirroringSupported {
            connection.automaticallyAdjustsVideoMirroring = false
            connection.isVideoMirrored = mirrored
        }
    }

    /// Keeps frames upright while the device is turned.
    private func follow(_ device: AVCaptureDevice) {
        let rotation = AVCaptureDevice.RotationCoordinator(device: device, previewLayer: nil)
        let output = output
        turning = rotation.observe(\.videoRotationAngleForHorizonLevelCapture, options: [.initial, .new]) { rotation, _ in
            let angle = rotation.videoRotationAngleForHorizonLevelCapture
            guard let connection = output.connection(with: .video) else { return }
            if connection.isVideoRotationAngleSupported(angle) { connection.videoRotationAngle = angle }
        }
        self.rotation = rotation
    }
}

/// Takes frames from AVFoundation, on a queue of its own.
private final class FrameReceiver: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate {
    let queue = DispatchQueue(label: "org.edgestyle.demo.camera")
    /// To be used on `queue` alone.
    var listener: AsyncStream<Picture>.Continuation?

    func captureOutput(_: AVCaptureOutput, didOutput sample: CMSampleBuffer, from _: AVCaptureConnection) {
        if let buffer = CMSampleBufferGetImageBuffer(sample) { listener?.yield(Picture(buffer)) }
    }
}
