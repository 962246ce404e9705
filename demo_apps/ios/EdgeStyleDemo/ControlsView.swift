import PhotosUI
import SwiftUI

struct ControlsView: View {
    @Bindable var model: DemoModel
    @State private var chosen: PhotosPickerItem?
    @Environment(\.openURL) private var openURL

    var body: some View {
        ViewThatFits(in: .vertical) {
            controls
            ScrollView { controls }
        }
    }

    private var controls: some View {
        VStack(alignment: .leading, spacing: 12) {
            status
            Picker("Style", selection: $model.selected) {
                ForEach(model.manifests) { Text($0.style.title).tag(Optional($0)) }
            }
            Picker("Run on", selection: $model.unit) {
                ForEach(ComputeUnit.allCases) { Text($0.rawValue).tag($0) }
            }
            .pickerStyle(.segmented)
            LabeledContent("Strength") {
                Slider(value: $model.strength) { Text("Strength") }
            }
            actions
        }
        .padding()
    }

    @ViewBuilder private var status: some View {
        if let error = model.error {
            Label(error.localizedDescription, systemImage: "exclamationmark.triangle")
            if error == .cameraRefused, let settings = URL(string: UIApplication.openSettingsURLString) {
                Button("Open Settings") { openURL(settings) }
            }
        }
        if let timing = model.timing {
            Text(timing).font(.footnote).monospacedDigit()
        }
    }

    private var actions: some View {
        HStack {
            PhotosPicker("Photo", selection: $chosen, matching: .images)
            if model.live {
                Button("Flip camera", systemImage: "arrow.triangle.2.circlepath.camera") { Task { await model.flip() } }
            } else {
                Button("Camera", systemImage: "camera") { Task { await model.goLive() } }
            }
            Button(model.saved ? "Saved" : "Save", systemImage: "square.and.arrow.down") { Task { await model.save() } }
                .disabled(model.picture == nil)
            if let picture = model.picture {
                ShareLink(item: SharedPicture(image: picture), preview: SharePreview("Picture"))
            }
        }
        .labelStyle(.iconOnly)
        .buttonStyle(.bordered)
        .onChange(of: chosen) { _, item in
            guard let item else { return }
            Task {
                await model.choose(try? item.loadTransferable(type: Data.self))
                chosen = nil
            }
        }
    }
}
