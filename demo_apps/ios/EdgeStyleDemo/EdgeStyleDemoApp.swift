import SwiftUI

@main
struct EdgeStyleDemoApp: App {
    @State private var model = DemoModel()

    var body: some Scene {
        WindowGroup {
            DemoView(model: model)
        }
    }
}
