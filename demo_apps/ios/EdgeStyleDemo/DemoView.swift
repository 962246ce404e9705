import SwiftUI

/// The picture and its controls: below it in portrait, beside it in landscape.
struct DemoView: View {
    @Bindable var model: DemoModel
    @Environment(\.scenePhase) private var phase

    var body: some View {
        GeometryReader { space in
            let layout = space.size.width > space.size.height ? AnyLayout(HStackLayout()) : AnyLayout(VStackLayout())
            layout {
                picture
                    .frame(maxWidth: .infinity, maxHeight: .infinity)
                ControlsView(model: model)
                    .frame(maxWidth: 420)
            }
        }
        .task { await model.paintFrames() }
        .task { await model.goLive() }
        .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification)) { _ in
            model.releaseMemory()
        }
        .onChange(of: phase) { _, phase in
            if phase == .background { model.releaseMemory() }  // the system stops the camera by itself
        }
    }

    @ViewBuilder private var picture: some View {
        if let picture = model.picture {
            PictureView(picture: picture)
                .accessibilityElement()
                .accessibilityAddTraits(.isImage)
                .accessibilityLabel("Picture in the style of \(model.selected?.style.title ?? "no painting")")
        } else {
            ContentUnavailableView("No picture yet", systemImage: "photo")
        }
    }
}
